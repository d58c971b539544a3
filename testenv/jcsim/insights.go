package jcsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// eventQuery is the body of a query for events.
type eventQuery struct {
	Service     []string        `json:"service"`
	StartTime   string          `json:"start_time"`
	EndTime     string          `json:"end_time"`
	Limit       any             `json:"limit"`
	Skip        int             `json:"skip"`
	Sort        string          `json:"sort"`
	SearchAfter []any           `json:"search_after"`
	Fields      []string        `json:"fields"`
	SearchTerm  json.RawMessage `json:"search_term"`
	Q           string          `json:"q"`
	ExactMatch  string          `json:"exact_match"`
}

const (
	defaultEvents = 1000
	mostEvents    = 10_000
)

// queryEvents is POST /events of Directory Insights.
func (s *Server) queryEvents(r request) answer {
	if s.insights.off {
		return insightsFailure(http.StatusPaymentRequired, "Directory Insights is not enabled for your organization")
	}
	var q eventQuery
	if err := json.Unmarshal(r.body, &q); err != nil {
		return insightsFailure(http.StatusBadRequest, "the query is not the JSON object wanted")
	}
	fits, err := s.eventFilter(&q)
	if err != nil {
		return insightsFailure(http.StatusBadRequest, err.Error())
	}
	rows := []eventRow{}
	for _, e := range s.insights.rows {
		if fits(e) {
			rows = append(rows, e)
		}
	}
	descending := strings.EqualFold(q.Sort, "DESC")
	if descending {
		slices.Reverse(rows)
	}
	if rows, err = searchAfter(rows, q.SearchAfter, descending); err != nil {
		return insightsFailure(http.StatusBadRequest, err.Error())
	}
	limit := eventLimit(q.Limit)
	return eventAnswer(page(rows, limit, max(0, q.Skip)), limit, descending, q.Fields)
}

// eventLimit falls back to the default for anything that makes no sense.
func eventLimit(given any) int {
	n, ok := given.(float64)
	if !ok || n < 1 || n > mostEvents || n != float64(int(n)) {
		return defaultEvents
	}
	return int(n)
}

func eventAnswer(rows []eventRow, limit int, descending bool, fields []string) answer {
	docs := []map[string]any{}
	last := []any{}
	for _, e := range rows {
		doc := e.doc
		if fields != nil {
			doc = make(map[string]any)
			for _, name := range fields {
				if value, ok := e.doc[name]; ok {
					doc[name] = value
				}
			}
		}
		docs = append(docs, doc)
		last = []any{e.at.UnixMilli(), e.id}
	}
	a := success(http.StatusOK, docs)
	after, err := json.Marshal(last)
	if err != nil {
		return insightsFailure(http.StatusInternalServerError, "the answer cannot be encoded")
	}
	sort := "ASC"
	if descending {
		sort = "DESC"
	}
	for name, value := range map[string]string{"X-Result-Count": strconv.Itoa(len(rows)), "X-Limit": strconv.Itoa(limit), "X-Sort": sort,
		"X-Search_after": string(after), "X-Request-Id": randomHex(16)} {
		a.header[name] = []string{value} // as they are spelled
	}
	return a
}

func insightsFailure(code int, message string) answer {
	return success(code, map[string]string{"message": message})
}

// searchAfter keeps the rows behind the one that a search_after names.
func searchAfter(rows []eventRow, after []any, descending bool) ([]eventRow, error) {
	if len(after) == 0 {
		return rows, nil
	}
	if len(after) != 2 {
		return nil, invalid("search_after must be the value of X-Search_after")
	}
	millis, ok1 := after[0].(float64)
	id, ok2 := after[1].(string)
	if !ok1 || !ok2 {
		return nil, invalid("search_after must be the value of X-Search_after")
	}
	mark := eventRow{at: time.UnixMilli(int64(millis)).UTC(), id: id}
	for i, e := range rows {
		if c := e.compare(mark); !descending && c > 0 || descending && c < 0 {
			return rows[i:], nil
		}
	}
	return nil, nil
}

// eventFilter says which events fit, but for limit and paging.
func (s *Server) eventFilter(q *eventQuery) (func(eventRow) bool, error) {
	if len(q.Service) == 0 {
		return nil, invalid("service is required")
	}
	start, err := time.Parse(time.RFC3339, q.StartTime)
	switch {
	case err != nil:
		return nil, invalid("start_time is required, as RFC 3339 writes times")
	case start.After(s.now()):
		return nil, invalid("start_time is in the future")
	case q.Q != "" || q.ExactMatch != "":
		return nil, invalid("full text search is not served by the simulator")
	case q.Fields != nil && !slices.ContainsFunc(q.Fields, func(f string) bool { return slices.Contains(eventFields, f) }):
		return nil, invalid("fields has none that is known")
	}
	end := s.now()
	if q.EndTime != "" {
		if end, err = time.Parse(time.RFC3339, q.EndTime); err != nil || end.Before(start) {
			return nil, invalid("end_time must be a time after start_time")
		}
	}
	term, err := parseEventTerms(q.SearchTerm)
	if err != nil {
		return nil, err
	}
	oldest := s.now().Add(-retention)
	return func(e eventRow) bool {
		service := slices.Contains(q.Service, "all") || slices.Contains(q.Service, plain(e.doc["service"]))
		return service && !e.at.Before(start) && !e.at.After(end) && !e.at.Before(oldest) && term(e.doc)
	}, nil
}

// eventFields are those that a projection may name.
var eventFields = strings.Fields(`id event_type timestamp service organization resource changes association initiated_by client_ip useragent geoip
	auth_method success error_message correlation provider @version`)

// parseEventTerms reads search_term.
func parseEventTerms(raw json.RawMessage) (filter, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return everything, nil
	}
	var in map[string][]map[string]any
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, invalid("search_term must be an object of and, or and not")
	}
	var all []filter
	for kind, list := range in {
		var terms []filter
		names := make(map[string]bool)
		for _, item := range list {
			found, err := eventTerm(item, names, kind == "and")
			if err != nil {
				return nil, err
			}
			terms = append(terms, found...)
		}
		switch kind {
		case "and":
			all = append(all, allOf(terms))
		case "or":
			all = append(all, anyOf(terms))
		case "not":
			some := anyOf(terms)
			all = append(all, func(doc map[string]any) bool { return !some(doc) })
		default:
			return nil, invalid("search_term has something other than and, or and not")
		}
	}
	return allOf(all), nil
}

// eventTerm reads {"name": value or values, ...}, or the form with field,
// operator and value, of which eq and in are served.
func eventTerm(item map[string]any, names map[string]bool, once bool) (terms []filter, err error) {
	if name, ok := item["field"].(string); ok && item["operator"] != nil {
		if op := item["operator"]; op != "eq" && op != "in" {
			return nil, invalid("operator is not served by the simulator")
		}
		item = map[string]any{name: item["value"]}
	}
	for name, value := range item {
		if names[name] && once {
			return nil, invalid("%s is repeated in one list", name)
		}
		names[name] = true
		if name == "changes" || name == "useragent" || name == "system_timestamp" {
			return nil, invalid("%s cannot be searched", name)
		}
		wanted, isList := value.([]any)
		if !isList {
			wanted = []any{value}
		}
		terms = append(terms, func(doc map[string]any) bool {
			have := strings.ToLower(plain(eventField(doc, name))) // values are in lower case there
			return slices.ContainsFunc(wanted, func(w any) bool { return plain(w) == have })
		})
	}
	return terms, nil
}

// eventField finds a field by its name, or by names with a dot between two.
func eventField(doc map[string]any, name string) any {
	var value any = doc
	for part := range strings.SplitSeq(name, ".") {
		object, _ := value.(map[string]any)
		value = object[part]
	}
	return value
}
