package plan

import (
	"errors"
	"fmt"
	"strings"
	"text/template/parse"

	"github.com/dirgate/dirgate/store/identity"
)

// part is a piece of a rule's value: a text, or a field of the user or the
// domain.
type part struct {
	text  string
	field string // a name of JumpCloud's
	other bool   // the domain's DNS name
}

func (p part) of(u *identity.User, domain string) string {
	switch {
	case p.other:
		return domain
	case p.field != "":
		return value(u, p.field)
	}
	return p.text
}

const (
	rootUser   = "jcUser"
	domainName = "domain.domainName"
)

// readPath reads the name of a field, with or without jcUser before it.
func readPath(source string) ([]part, error) {
	path := strings.TrimSpace(source)
	if path == domainName {
		return []part{{other: true}}, nil
	}
	field := strings.TrimPrefix(path, rootUser+".")
	if field == FieldUsername || comparedName(field) != "" && field != FieldManager {
		return []part{{field: field}}, nil
	}
	return nil, fmt.Errorf("its source %q is not a field that is known here", source)
}

// maxExpression bounds the source of a rule, in bytes.
const maxExpression = 4096

var errExpression = errors.New("its source is more than texts and fields joined by +")

// readExpression reads texts in quotes and fields, joined by +, as in
// jcUser.username + '@' + domain.domainName. A text has no escapes.
func readExpression(source string) (parts []part, err error) {
	if len(source) > maxExpression {
		return nil, fmt.Errorf("its source has more than %d bytes", maxExpression)
	}
	rest := strings.TrimSpace(source)
	for {
		var next part
		if next, rest, err = operand(rest); err != nil {
			return nil, err
		}
		parts = append(parts, next)
		if rest = strings.TrimSpace(rest); rest == "" {
			return parts, nil
		}
		if rest[0] != '+' {
			return nil, errExpression
		}
		rest = strings.TrimSpace(rest[1:])
	}
}

func operand(text string) (p part, rest string, err error) {
	if text == "" {
		return p, "", errExpression
	}
	if quote := text[:1]; quote == "'" || quote == `"` {
		inner, rest, closed := strings.Cut(text[1:], quote)
		if !closed || strings.Contains(inner, `\`) {
			return p, "", errExpression
		}
		return part{text: inner}, rest, nil
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !attributeName("a"+string(r)) && r != '.' && r != '_' })
	if end < 0 {
		end = len(text)
	}
	if !strings.HasPrefix(text[:end], rootUser+".") && text[:end] != domainName {
		return p, "", errExpression
	}
	parts, err := readPath(text[:end])
	if err != nil {
		return p, "", err
	}
	return parts[0], text[end:], nil
}

var errTemplate = errors.New("its template is more than texts and fields")

// readTemplate reads a template of text and fields, such as
// {{.jcUser.firstname}}.{{.jcUser.lastname}}: no functions, conditions or
// variables. It is taken apart, never executed.
func readTemplate(source string) (parts []part, err error) {
	if len(source) > maxExpression {
		return nil, fmt.Errorf("its source has more than %d bytes", maxExpression)
	}
	trees, err := parse.Parse("rule", source, "", "", map[string]any{})
	if err != nil {
		return nil, fmt.Errorf("its template cannot be read: %w", err)
	}
	if len(trees) != 1 || trees["rule"] == nil {
		return nil, errTemplate
	}
	for _, node := range trees["rule"].Root.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			parts = append(parts, part{text: string(n.Text)})
		case *parse.ActionNode:
			field, err := templateField(n.Pipe)
			if err != nil {
				return nil, err
			}
			parts = append(parts, field)
		default:
			return nil, errTemplate
		}
	}
	if len(parts) == 0 {
		return nil, errTemplate
	}
	return parts, nil
}

func templateField(pipe *parse.PipeNode) (part, error) {
	if len(pipe.Decl) > 0 || len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) != 1 {
		return part{}, errTemplate
	}
	node, ok := pipe.Cmds[0].Args[0].(*parse.FieldNode)
	if !ok {
		return part{}, errTemplate
	}
	path := strings.Join(node.Ident, ".")
	if !strings.HasPrefix(path, rootUser+".") && path != domainName {
		return part{}, errTemplate
	}
	parts, err := readPath(path)
	if err != nil {
		return part{}, err
	}
	return parts[0], nil
}
