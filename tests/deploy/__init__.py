"""Tests of what is deployed: packages in clean root file systems, units under a real systemd, roles over ssh."""
