#!/bin/sh
# The same as pipeline.sh with nothing but curl, openssl and coreutils, for whoever cannot install `writ`: every request shows a DPoP proof
# (RFC 9449) of a key that is made here and is gone with the job, because the deploy token is bound to it.
set -eu
umask 077
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
b64() { basenc -w0 --base64url | tr -d '='; }
point() { openssl ec -in key.pem -pubout -outform DER 2>/dev/null | tail -c 64; }
jwk=$(printf '{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}' "$(point | head -c 32 | b64)" "$(point | tail -c 32 | b64)")
proof() { # method, path without query
  head=$(printf '{"typ":"dpop+jwt","alg":"ES256","jwk":%s}' "$jwk" | b64)
  ath=$(printf %s "$TOKEN" | openssl dgst -sha256 -binary | b64)
  body=$(printf '{"jti":"%s","htm":"%s","htu":"%s","iat":%s,"ath":"%s"}' "$(openssl rand -hex 16)" "$1" "$WRIT_BROKER$2" "$(date +%s)" "$ath" | b64)
  # ECDSA as JOSE wants it: both numbers in 32 bytes each.
  signature=$(printf %s "$head.$body" | openssl dgst -sha256 -sign key.pem | openssl asn1parse -inform DER |
    sed -n 's/.*INTEGER *:\([0-9A-F]*\)$/\1/p' | while read -r n; do printf '%64s' "$n" | tr ' ' 0; done | basenc -d --base16 | b64)
  printf %s "$head.$body.$signature"
}
token() { TOKEN=$(curl -fsS -H "authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$WRIT_BROKER" | sed 's/.*"value": *"\([^"]*\)".*/\1/'); }
# Secrets go to curl by its standard input, where no other process reads them.
call() { # method, path, query, curl's further arguments
  method=$1 path=$2 query=$3; shift 3
  printf 'header = "authorization: Bearer %s"\nheader = "dpop: %s"\n' "$TOKEN" "$(proof "$method" "$path")" |
    curl -sS --fail-with-body -K - -X "$method" -H 'content-type: application/json' "$@" "$WRIT_BROKER$path$query"
}
member() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }

token
plan="sha-256:$(openssl dgst -sha256 -binary plan.json | b64)"
ask=$(printf '{"entitlement":"webshop-deploy","actions":["deploy"],"scope":["commit:%s"],"window":{"duration":"30m"},"task":{"summary":"Deploy %s"},"plan":{"digest":"%s","mediaType":"application/json"}}' "$SHA" "$SHA" "$plan")
id=$(call POST /v1/grants '' -H "idempotency-key: \"deploy-$RUN_ID\"" -d "$ask" | sed 's/^{"id":"\([^"]*\)".*/\1/')
status=pending
while [ "$status" = pending ]; do
  token
  status=$(call GET "/v1/grants/$id" '?wait=30&for=status&since=pending' | sed 's/^{"id":"[^"]*","status":"\([^"]*\)".*/\1/')
done
[ "$status" = approved ] || { echo "the grant is $status" >&2; exit 7; }
call POST "/v1/grants/$id/exchange" '' -d "{\"attempt\":\"deploy-$RUN_ID\"}" | member token >deploy-token
${DEPLOY:-echo deploying with} deploy-token
call POST "/v1/grants/$id/complete" '' -d "{\"result\":{\"commit\":\"$SHA\"}}" >grant.json
