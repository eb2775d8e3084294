"""Parts of one's own: each module is an example of docs/extend.md."""
