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
		indent := openSection(&b, section, k.section())
		section = k.section()
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
		fmt.Fprintf(&b, "%s%s%s: %s\n", indent, mark, name, k.written(value))
	}
	return []byte(b.String())
}

// openSection writes the lines that lead from one section to another, and gives
// the indent of the keys in it.
func openSection(b *strings.Builder, from, to string) string {
	if to == "" {
		b.WriteString("\n")
		return ""
	}
	parts := strings.Split(to, ".")
	for i, name := range parts {
		if within := strings.Join(parts[:i+1], "."); from == within || strings.HasPrefix(from, within+".") {
			continue
		}
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "%s%s:\n", strings.Repeat("  ", i), name)
	}
	return strings.Repeat("  ", len(parts))
}

// written is a value as the file has it.
func (k key) written(value string) string {
	if !k.list {
		return quote(value)
	}
	var items []string
	if value != "" {
		for item := range strings.SplitSeq(value, ",") {
			items = append(items, quote(item))
		}
	}
	return "[" + strings.Join(items, ", ") + "]"
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
