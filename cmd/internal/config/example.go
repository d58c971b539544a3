package config

import (
	"fmt"
	"strings"
)

// Example writes the commented file of a configuration: each key with what it
// means and which values it takes. A value that is not the default is set; a
// default is shown in a comment, to be uncommented and changed. Loading the
// result gives cfg again, except for Path.
func Example(cfg Config) []byte {
	var b strings.Builder
	b.WriteString("# Configuration of dirgate.\n" +
		"#\n" +
		"# A line that is commented out shows the default. Durations and sizes have units\n" +
		"# (90s, 15m; 256KiB, 16MiB). Relative paths start at this file's folder. There is\n" +
		"# no secret in here, only the paths of files that hold them. AD domains and their\n" +
		"# accounts are not set here: see \"dirgate domain register --help\".\n")
	def := Default()
	section := ""
	for _, k := range keys {
		indent := ""
		if s := k.section(); s != "" {
			indent = "  "
			if s != section {
				fmt.Fprintf(&b, "\n%s:\n", s)
				section = s
			}
		} else {
			b.WriteString("\n")
		}
		for doc := range strings.SplitSeq(k.doc, "\n") {
			fmt.Fprintf(&b, "%s# %s\n", indent, doc)
		}
		if k.path == nil {
			fmt.Fprintf(&b, "%s# Takes %s.\n", indent, k.want)
		}
		name := k.name[strings.LastIndexByte(k.name, '.')+1:]
		value := k.get(&cfg)
		mark := ""
		if value == k.get(&def) {
			mark = "#"
		}
		fmt.Fprintf(&b, "%s%s%s: %s\n", indent, mark, name, quote(value))
	}
	return []byte(b.String())
}

// quote writes a value so that YAML reads back the same text: plain where that
// is beyond doubt, else between double quotes.
func quote(s string) string {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-", r))
	}
	if s != "" && s[0] != '.' && s[0] != '-' && !strings.ContainsFunc(s, odd) && !strings.EqualFold(s, "null") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
