"""A stand-in for the paid APIs: demo and tests need no key. Every reply of it carries `x-sandbox: 1`."""
