package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// excerpt reads an OpenAPI document and keeps the paths with one of the
// prefixes and the components that these refer to, as JSON. The validator
// compiles every schema of a document when it loads it, which takes minutes
// for the whole of v2.
func excerpt(file string, prefixes ...string) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	paths, _ := doc["paths"].(map[string]any)
	all, _ := doc["components"].(map[string]any)
	kept := make(map[string]any)
	for path, item := range paths {
		for _, p := range prefixes {
			if path == p || strings.HasPrefix(path, p+"/") {
				kept[path] = item
			}
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("no path starts with any of %v", prefixes)
	}
	components := map[string]any{"securitySchemes": all["securitySchemes"]}
	if err := collect(kept, all, components); err != nil {
		return nil, err
	}
	doc["paths"], doc["components"] = kept, components
	delete(doc, "tags")
	delete(doc, "x-tagGroups")
	return json.Marshal(doc)
}

// collect copies the components that v refers to, and those that they do.
func collect(v any, all, into map[string]any) error {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := collect(item, all, into); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, item := range v {
			if ref, ok := item.(string); ok && key == "$ref" {
				if err := collectRef(ref, all, into); err != nil {
					return err
				}
			} else if err := collect(item, all, into); err != nil {
				return err
			}
		}
	}
	return nil
}

func collectRef(ref string, all, into map[string]any) error {
	kind, name, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
	source, _ := all[kind].(map[string]any)
	found, ok := source[name]
	if !ok {
		return fmt.Errorf("%s is not in the document", ref)
	}
	target, ok := into[kind].(map[string]any)
	if !ok {
		target = make(map[string]any)
		into[kind] = target
	}
	if _, done := target[name]; done {
		return nil
	}
	target[name] = found
	return collect(found, all, into)
}
