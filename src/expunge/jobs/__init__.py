"""What the commands do, from files to files; each takes a description that a TOML file can hold."""
