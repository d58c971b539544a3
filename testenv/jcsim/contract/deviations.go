package contract

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Deviation is a known difference between traffic and documents.
type Deviation struct {
	Method string
	Path   string // of the document, behind /api, /api/v2 or /insights/directory/v1; {} stands for any id
	Code   int    // of the answer; zero: any
	Says   string // part of the checker's words
	Reason string
}

// Deviations are the known ones. Keep it short: each is a way for an error to
// hide.
var Deviations = []Deviation{
	{"GET", "/organizations", 0, "header 'X-Org-Id'", undeclaredOrg},
	{"GET", "/organizations/{}", 0, "header 'X-Org-Id'", undeclaredOrg},
	{"POST", "/systemusers/{}/state/activate", 0, "header 'X-Org-Id'", undeclaredOrg},
	{"POST", "/systemusers/{}/state/suspend", 0, "header 'X-Org-Id'", undeclaredOrg},
	{"POST", "/systemusers", 400, "'@type'", looseDetails},
	{"POST", "/systemusers", 400, "'fieldViolationsList'", looseDetails},
	{"PUT", "/systemusers/{}", 400, "'@type'", looseDetails},
	{"PUT", "/systemusers/{}", 400, "'fieldViolationsList'", looseDetails},
	{"GET", "/systemusers", 200, "'filter[or][", "the filter parameter's text describes filter[or][n], which its schema cannot"},
	{"POST", "/search/systemusers", 200, "'$.body.searchFilter.", "the call's text describes searchTerm and fields; the schema is a bare object"},
	{"GET", "/systemusers/{}", 404, "code '404' does not exist", undeclaredCode},
	{"GET", "/activedirectories/{}", 404, "code '404' does not exist", undeclaredCode},
	{"POST", "/activedirectories", 400, "code '400' does not exist", undeclaredCode},
	{"POST", "/activedirectories", 409, "code '409' does not exist", undeclaredCode},
	{"POST", "/activedirectories/{}/associations", 404, "code '404' does not exist", undeclaredCode},
	{"POST", "/activedirectories/{}/associations", 409, "code '409' does not exist", undeclaredCode},
	{"GET", "/usergroups/{}", 404, "code '404' does not exist", undeclaredCode},
	{"POST", "/usergroups", 409, "code '409' does not exist", undeclaredCode},
	{"POST", "/usergroups/{}/members", 404, "code '404' does not exist", undeclaredCode},
	{"POST", "/usergroups/{}/members", 409, "code '409' does not exist", undeclaredCode},
	{"GET", "/usergroups", 200, ".memberQuery.filters[", "the schema's example shows field, operator and value; the schema lets a filter be anything"},
	{"POST", "/systemusers/{}/state/activate", 200, "$.email: got boolean, want object", "the call's text takes true, false or an address besides an object"},
	{"GET", "/activedirectories/{}/translation-rules", 200, "rules[0].objectId'", "the schema calls it id; JumpCloud answers objectId"},
	{"PUT", "/activedirectories/{}/translation-rules/{}", 200, "response property '", "the schema has object_id alone; JumpCloud answers the rule"},
	{"DELETE", "/activedirectories/{}/translation-rules/{}", 200, "content type '' does not exist", "the schema has true; JumpCloud answers nothing"},
	{"POST", "/events", 200, "is not declared in schema", "events are objects of which the schema declares no field"},
	{"POST", "/events", 200, "$.search_term.and: got array, want object", "the document's text and all its examples have lists there"},
}

const (
	undeclaredOrg  = "x-org-id names the organisation for administrators of several; a few calls do not declare it"
	looseDetails   = "the parameter's text shows these members; the schema only says that they follow google.rpc"
	undeclaredCode = "v1 and v2 declare hardly any failures; an API that never answered this one could not be used"
)

func (d Deviation) key() string { return fmt.Sprint(d.Method, " ", d.Path, " ", d.Code, " ", d.Says) }

func (d Deviation) String() string {
	return fmt.Sprintf("%s %s %d %q (%s)", d.Method, d.Path, d.Code, d.Says, d.Reason)
}

var anyID = regexp.MustCompile(`/[0-9a-f]{24}(/|$)`)

func (d Deviation) fits(req *http.Request, code int, text string) bool {
	path := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/insights/directory/v1"), "/api"), "/v2")
	for anyID.MatchString(path) {
		path = anyID.ReplaceAllString(path, "/{}$1")
	}
	return d.Method == req.Method && d.Path == path && (d.Code == 0 || d.Code == code) && strings.Contains(text, d.Says)
}
