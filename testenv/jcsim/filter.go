package jcsim

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// filter says whether a user's fields fit.
type filter func(doc map[string]any) bool

func everything(map[string]any) bool { return true }

func allOf(list []filter) filter {
	return func(doc map[string]any) bool {
		return !slices.ContainsFunc(list, func(f filter) bool { return !f(doc) })
	}
}

func anyOf(list []filter) filter {
	return func(doc map[string]any) bool {
		return slices.ContainsFunc(list, func(f filter) bool { return f(doc) })
	}
}

var filterKey = regexp.MustCompile(`^filter(\[(and|or)\])?(\[\d*\])?$`)

// parseFilters reads v1's query: filter=, filter[0]=, filter[or][0]= and so on;
// nil: there is none.
func parseFilters(query url.Values) (filter, error) {
	var and, or []filter
	for key, values := range query {
		match := filterKey.FindStringSubmatch(key)
		if match == nil {
			continue
		}
		for _, text := range values {
			f, err := parseTerm(text)
			if err != nil {
				return nil, err
			}
			if match[2] == "or" {
				or = append(or, f)
			} else {
				and = append(and, f)
			}
		}
	}
	if len(or) > 0 {
		and = append(and, anyOf(or))
	}
	if len(and) == 0 {
		return nil, nil
	}
	return allOf(and), nil
}

// parseTerm reads FIELD:$OPERATOR:VALUE. Values are compared with their case.
func parseTerm(text string) (filter, error) {
	field, rest, ok1 := strings.Cut(text, ":")
	op, value, ok2 := strings.Cut(rest, ":")
	if !ok1 || !ok2 || field == "" {
		return nil, invalid("filter must be field:$operator:value")
	}
	test, ok := map[string]func(have string) bool{
		"$eq":  func(have string) bool { return have == value },
		"$ne":  func(have string) bool { return have != value },
		"$in":  func(have string) bool { return slices.Contains(splitTerms(value), have) },
		"$nin": func(have string) bool { return !slices.Contains(splitTerms(value), have) },
		"$lt":  func(have string) bool { return have < value },
		"$lte": func(have string) bool { return have <= value },
		"$gt":  func(have string) bool { return have > value },
		"$gte": func(have string) bool { return have >= value },
		"$sw":  func(have string) bool { return strings.HasPrefix(have, value) },
	}[op]
	if !ok {
		return nil, invalid("filter operator %q is not known", op)
	}
	return func(doc map[string]any) bool { return test(plain(doc[field])) }, nil
}

// splitTerms splits at "|", of which "\|" is a literal one.
func splitTerms(value string) []string {
	const mark = "\x00"
	terms := strings.Split(strings.ReplaceAll(value, `\|`, mark), "|")
	for i := range terms {
		terms[i] = strings.ReplaceAll(terms[i], mark, "|")
	}
	return terms
}

// plain writes a field's value as filters compare it.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// parseSearchFilter reads the body's filter of a search: a list, or an object
// with "and" or "or", of {"field":"value"} or "field:$eq:value".
func parseSearchFilter(raw json.RawMessage) (filter, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return everything, nil
	}
	var object struct {
		And []any `json:"and"`
		Or  []any `json:"or"`
	}
	if err := json.Unmarshal(raw, &object.And); err != nil {
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, invalid("filter must be a list, or an object with and or or")
		}
	}
	and, err := parseTerms(object.And)
	if err != nil {
		return nil, err
	}
	or, err := parseTerms(object.Or)
	if err != nil {
		return nil, err
	}
	if len(or) > 0 {
		and = append(and, anyOf(or))
	}
	return allOf(and), nil
}

func parseTerms(list []any) ([]filter, error) {
	var fs []filter
	for _, item := range list {
		switch item := item.(type) {
		case string:
			f, err := parseTerm(item)
			if err != nil {
				return nil, err
			}
			fs = append(fs, f)
		case map[string]any:
			for field, value := range item {
				fs = append(fs, func(doc map[string]any) bool { return plain(doc[field]) == plain(value) })
			}
		default:
			return nil, invalid("a filter term must be an object or a string")
		}
	}
	return fs, nil
}

// searchTerms reads a string or a list of strings.
func searchTerms(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var terms []string
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, invalid("searchTerm must be text")
			}
			terms = append(terms, text)
		}
		return terms, nil
	}
	return nil, invalid("searchTerm must be text")
}
