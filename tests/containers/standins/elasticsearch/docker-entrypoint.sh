#!/bin/bash
# As the official one: variables with a dot in their names are settings.
set -euo pipefail
settings=(-Enetwork.host=0.0.0.0)
while IFS='=' read -r name value; do
	[[ $name =~ ^[a-z0-9_]+\.[a-z0-9_.]+$ ]] && settings+=("-E$name=$value")
done < <(env)
exec bin/elasticsearch "${settings[@]}"
