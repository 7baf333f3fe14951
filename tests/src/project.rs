//! A project in a folder of its own, and the program run on it.
