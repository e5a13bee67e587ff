"""README.md and docs/: links, snippets, commands and the site."""
