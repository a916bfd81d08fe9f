"""What can be asked: options declared once, their groups, config files, the command line."""
