# Sourced by everything that runs from a checkout: where the tools, caches and collections are.
_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ADT_CACHE="${ADT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/adt-assets}"
ADT_VENV="$ADT_CACHE/venv-$(sha256sum "$_top/requirements-dev.txt" | cut -c1-12)"
ADT_TREE="$ADT_CACHE/trees/$(printf %s "$_top" | sha256sum | cut -c1-12)"
export ADT_VENV ADT_TREE
export ADT_BED="${ADT_BED:-test}"
export PATH="$ADT_VENV/bin:$PATH"
export ANSIBLE_COLLECTIONS_PATH="$ADT_TREE"
export ANSIBLE_CONFIG="$_top/tests/ansible.cfg"
# lab.py, the corpus and the reader are used by the tests and the demo alike.
export PYTHONPATH="$_top/tests/tools"
unset _top
