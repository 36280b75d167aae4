#!/bin/sh
# The kernel lab's suite, run inside the virtual machine by `make test-kernel`. Prints TAP: `ok N - what holds`, `not ok N - …`.
cd "$(dirname "$0")/../.." || exit 2
status=0
sh test/kernel/selfcheck.sh || status=1
node_modules/.bin/node test/kernel/inside.ts || status=1
node_modules/.bin/node test/kernel/wireguard.ts || status=1
exit $status
