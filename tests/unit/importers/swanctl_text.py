"""Files of swanctl.conf that the tests import."""

from tests.unit.importers.imports import KEY

SITES = f"""\
# two sites, one key
defaults {{
  version = 2
  proposals = aes256gcm16-prfsha384-ecp384, aes128-sha256-modp2048
  dpd_delay = 20s
}}
connections {{
  branch : defaults {{
    local_addrs = 192.0.2.1
    remote_addrs = 198.51.100.1
    local {{
      auth = psk
      id = moon.example.org
    }}
    remote {{
      auth = psk
      id = sun.example.org
    }}
    children {{
      lan {{
        local_ts = 10.1.0.0/16, fd00:1::/48
        remote_ts = 10.2.0.0/16, fd00:2::/48
        esp_proposals = aes256gcm16-ecp384-esn-noesn
        start_action = trap
        dpd_action = trap
      }}
    }}
  }}
}}
secrets {{
  ike-branch {{
    id-moon = moon.example.org
    id-sun = sun.example.org
    secret = "{KEY}"
  }}
}}
"""


def connection(options: str = "", child: str = "", local: str = "", remote: str = "", more: str = "") -> str:
    """One connection with further options, each on its line."""
    return f"""\
connections {{
  net {{
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 198.51.100.1
    {options}
    local {{
      auth = psk
      {local}
    }}
    remote {{
      auth = psk
      {remote}
    }}
    children {{
      net {{
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
        {child}
      }}
    }}
  }}
}}
secrets {{
  ike-net {{
    secret = "{KEY}"
  }}
}}
{more}
"""
