"""What scores completions of any task (functions, models, services, rules, combinations), and checks of the scores."""
