"""What a run starts from (data, start policy, reward, judges, preference pairs), built once and stored."""
