"""The hub's library before and after `use_native`."""
