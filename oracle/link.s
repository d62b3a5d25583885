// Nothing: its presence lets link.go declare functions that live elsewhere.
