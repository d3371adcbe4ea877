"""requests-oauth2client as its documentation shows it, told what to do as node/openid-client.mjs
is."""

import json
import os
import sys
from urllib.parse import urlencode

from requests_oauth2client import OAuth2Client

issuer = os.environ["ISSUER"]
client = OAuth2Client.from_discovery_endpoint(
    issuer=issuer,
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    redirect_uri=os.environ["REDIRECT_URI"],
    testing=True,  # http on loopback
)
asking = client.authorization_request(scope="openid profile email")
print(json.dumps({"go": str(asking)}), flush=True)
answer = asking.validate_callback(sys.stdin.readline().strip())
tokens = client.authorization_code(answer, validate=True)
sub = tokens.id_token.sub
userinfo = client.userinfo(tokens)
refreshed = client.refresh_token(tokens)
leave = {
    "id_token_hint": str(refreshed.id_token),
    "post_logout_redirect_uri": os.environ["AFTER"],
}
print(
    json.dumps(
        {
            "sub": sub,
            "userinfo": userinfo,
            "again": refreshed.id_token.sub,
            "leave": f"{issuer}/logout?{urlencode(leave)}",
        }
    )
)
