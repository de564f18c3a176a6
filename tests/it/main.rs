//! One binary for everything that is tested from outside the rooms: the API, the command line, components that run.
