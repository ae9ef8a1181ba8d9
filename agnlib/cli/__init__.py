"""The program `agnlib`: a file a command, and what the commands share."""
