"""What a run starts from (data, start policy, reward, judges, preference pairs), and the store that builds each once."""
