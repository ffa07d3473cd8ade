#!/bin/sh
# Greets whoever is named.
set -eu
echo "hello, ${1:-world}"
