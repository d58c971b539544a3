package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decoder walks the syntax tree itself instead of unmarshalling into the
// structs: that way every error knows its dotted key and its line, all errors
// of a file are found at once, and nothing is converted on the way (a version
// written 1.2 stays the text 1.2).
type decoder struct {
	cfg  *Config
	file string
	errs []error
}

func decode(cfg *Config, file string, data []byte) error {
	d := &decoder{cfg: cfg, file: file}
	root, err := parseRoot(data)
	if err != nil {
		d.syntax(err)
		return errors.Join(d.errs...)
	}
	switch len(root.Docs) {
	case 0:
	case 1:
		d.mapping("", root.Docs[0].Body)
	default:
		d.fail(root.Docs[1].Body, "", "is a second YAML document: a config is one document")
	}
	return errors.Join(d.errs...)
}

func parseRoot(data []byte) (*ast.File, error) { return parser.ParseBytes(data, 0) }

// syntax reports what the parser says, without its excerpt of the file.
func (d *decoder) syntax(err error) {
	problem := &Error{File: d.file, Problem: "not valid YAML: " + err.Error()}
	if detail, ok := errors.AsType[yaml.Error](err); ok {
		problem.Problem = "not valid YAML: " + detail.GetMessage()
		if tok := detail.GetToken(); tok != nil && tok.Position != nil {
			problem.Line = tok.Position.Line
		}
	}
	d.errs = append(d.errs, problem)
}

func (d *decoder) fail(at ast.Node, key, format string, args ...any) {
	d.errs = append(d.errs, &Error{File: d.file, Line: line(at), Key: key, Problem: fmt.Sprintf(format, args...)})
}

func line(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// mapping reads the keys of a section, or of the whole file for "". A section
// whose keys are all commented out is null, and fine.
func (d *decoder) mapping(section string, node ast.Node) {
	switch n := node.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
	case *ast.MappingNode:
		for _, entry := range n.Values {
			d.entry(section, entry)
		}
	default:
		what := "the file"
		if section != "" {
			what = "a section"
		}
		d.fail(n, section, "want %s of \"key: value\" lines, got %s", what, describe(n))
	}
}

func (d *decoder) entry(section string, entry *ast.MappingValueNode) {
	name := entry.Key.GetToken().Value
	if section != "" {
		name = section + "." + name
	}
	if k, ok := lookup(name); ok {
		d.value(k, entry)
		return
	}
	if isSection(name) {
		d.mapping(name, entry.Value)
		return
	}
	problem := "unknown key"
	if near := nearest(name); near != "" {
		problem += ": did you mean " + near + "?"
	}
	d.fail(entry.Key, name, "%s", problem)
}

func (d *decoder) value(k key, entry *ast.MappingValueNode) {
	var text string
	switch n := entry.Value.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		text = n.GetToken().Value
	case *ast.SequenceNode:
		items, ok := plainItems(n)
		if !ok || !k.list {
			d.fail(n, k.name, "want %s, got %s", k.want, describe(n))
			return
		}
		if err := k.set(d.cfg, items); err != nil {
			d.fail(n, k.name, "%q %v: want %s", items, err, k.want)
		}
		return
	case nil, *ast.NullNode:
		d.fail(entry.Key, k.name, "has no value: want %s, or no such line for the default (%s)", k.want, k.defaultText())
		return
	default:
		d.fail(n, k.name, "want %s, got %s", k.want, describe(n))
		return
	}
	if k.list {
		d.fail(entry.Value, k.name, "want %s, got %s", k.want, describe(entry.Value))
		return
	}
	if err := k.set(d.cfg, text); err != nil {
		d.fail(entry.Value, k.name, "%q %v: want %s", text, err, k.want)
	}
}

// plainItems gives the text of a list of plain values; false if it has others.
func plainItems(list *ast.SequenceNode) (string, bool) {
	var items []string
	for _, item := range list.Values {
		switch n := item.(type) {
		case *ast.StringNode:
			items = append(items, n.Value)
		case *ast.IntegerNode, *ast.FloatNode:
			items = append(items, n.GetToken().Value)
		default:
			return "", false
		}
	}
	return strings.Join(items, ","), true
}

func (k key) defaultText() string {
	def := Default()
	return k.written(k.get(&def))
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "a YAML anchor, alias or tag"
	case *ast.LiteralNode:
		return "a text block"
	}
	return fmt.Sprintf("%q", n.GetToken().Value)
}

func lookup(name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// lineOf finds the line of a key that was already decoded; 0 if it is absent.
func lineOf(data []byte, name string) int {
	root, err := parseRoot(data)
	if err != nil || len(root.Docs) == 0 {
		return 0
	}
	node := root.Docs[0].Body
	at := 0
	for part := range strings.SplitSeq(name, ".") {
		m, ok := node.(*ast.MappingNode)
		if !ok {
			return 0
		}
		i := slices.IndexFunc(m.Values, func(v *ast.MappingValueNode) bool { return v.Key.GetToken().Value == part })
		if i < 0 {
			return 0
		}
		node, at = m.Values[i].Value, line(m.Values[i].Key)
	}
	return at
}

// nearest suggests a known key or section for an unknown name: one that is a
// few typing errors away, or one of the same last part in another section.
func nearest(name string) string {
	best, bestDistance := "", 1+max(2, len(name)/5)
	consider := func(candidate string) {
		if n := distance(name, candidate); n < bestDistance {
			best, bestDistance = candidate, n
		}
	}
	for _, k := range keys {
		consider(k.name)
		if s := k.section(); s != "" && !strings.Contains(name, ".") {
			consider(s)
		}
	}
	if best != "" {
		return best
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range keys {
		if k.name[strings.LastIndexByte(k.name, '.')+1:] == last {
			return k.name
		}
	}
	return ""
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
