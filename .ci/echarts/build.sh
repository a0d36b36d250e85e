#!/usr/bin/env bash
# Makes the ECharts that the dashboard serves: only what chart.js uses, in one file.
# Needs Node, and npm with a registry; nobody else needs either. The result is committed, with its sha256.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
assets="$here/../../src/fedops/server/dashboard/assets"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/entry.js" "$work/"
cd "$work"
echo '{"private": true}' > package.json
npm install --no-audit --no-fund --silent echarts@6.1.0 zrender@6.1.0 tslib@2.3.0 esbuild@0.28.2
{
  echo "/*! This file is made by .ci/echarts/build.sh from Apache ECharts 6.1.0, ZRender 6.1.0 and tslib 2.3.0."
  echo "Their licences are in echarts.licences.txt beside it."
  echo
  cat node_modules/echarts/NOTICE
  echo
  echo "*/"
} > banner.txt
node_modules/.bin/esbuild entry.js --bundle --minify --format=iife --global-name=echarts \
  --target=es2020 --charset=utf8 --legal-comments=none "--define:process.env.NODE_ENV=\"production\"" \
  "--banner:js=$(cat banner.txt)" --outfile="$assets/echarts.js" --log-level=warning
{
  echo "echarts.js: Apache ECharts"
  echo
  cat node_modules/echarts/NOTICE node_modules/echarts/LICENSE
  for part in node_modules/echarts/licenses/*; do
    echo; echo "---- $(basename "$part")"; echo; cat "$part"
  done
  echo; echo "---- ZRender"; echo; cat node_modules/zrender/LICENSE
  echo; echo "---- tslib"; echo; cat node_modules/tslib/CopyrightNotice.txt node_modules/tslib/LICENSE.txt
} > "$assets/echarts.licences.txt"
(cd "$assets" && sha256sum echarts.js) > "$here/echarts.sha256"
cat "$here/echarts.sha256"
