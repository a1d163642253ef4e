# Run as root in the guest of packaging/boot-test: what an operator does with the packages, and what must come of it. Each part says
# what it holds; the first that does not hold ends it.
set -u
cd /payload
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
for part in kit debs access containers less removed rpms; do
    . "/payload/guest/$part.sh"
done
echo "$held held"
