#!/bin/sh
# The deploy job of a pipeline: asks for exactly this commit and plan, waits for the release owner, deploys, says that it is done.
# Needs WRIT_BROKER, SHA, RUN_ID, plan.json, and what GitHub gives to a job with `id-token: write`. `writ help exit-codes` explains the numbers.
set -eu
token() { WRIT_TOKEN=$(curl -fsS -H "authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$WRIT_BROKER" | sed 's/.*"value": *"\([^"]*\)".*/\1/'); export WRIT_TOKEN; }
token
writ request webshop-deploy --action deploy --scope "commit:$SHA" --plan plan.json --for 30m --summary "Deploy $SHA" --key "deploy-$RUN_ID" --json >grant.json
id=$(sed 's/^{"id":"\([^"]*\)".*/\1/' grant.json)
until writ show "$id" --wait=60 --json >grant.json; do code=$?; [ $code -eq 6 ] || exit $code; token; done
token
writ exchange "$id" --output file --file deploy-token --attempt "deploy-$RUN_ID"
${DEPLOY:-echo deploying with} deploy-token
writ complete "$id" --result "commit=$SHA" --wait=60 --json >grant.json
