"""What belongs to one task and to no other: its data, its rewards, its judges. Nothing outside a task knows it."""
