"""Tests that run in a kernel with ESP, on nodes; :mod:`tests.deploy.test_service_tunnel` runs them there."""
