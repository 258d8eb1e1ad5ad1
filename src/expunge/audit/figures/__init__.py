"""Which figures an audit has: definition, target and direction of each."""
