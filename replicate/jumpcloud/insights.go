package jumpcloud

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// InsightsURL is where Directory Insights is for a console of one of
// JumpCloud's regions; false: the console is none of theirs.
func InsightsURL(console string) (string, bool) {
	u, err := url.Parse(console)
	if err != nil {
		return "", false
	}
	host, ok := map[string]string{
		"console.jumpcloud.com":    "api.jumpcloud.com",
		"console.eu.jumpcloud.com": "api.eu.jumpcloud.com",
		"console.in.jumpcloud.com": "api.in.jumpcloud.com",
	}[strings.ToLower(u.Host)]
	return "https://" + host + "/insights/directory/v1", ok
}

const (
	// overlap is how far back a poll looks before the newest event that was
	// seen: events are not promised to come in their order, nor at once.
	overlap = 5 * time.Minute
	// insightsPage is how many events are asked for at once; JumpCloud gives up
	// to 10,000.
	insightsPage = 1000
	// insightsPages bounds one poll. With more events than fit it is cheaper to
	// list everything.
	insightsPages = 10
	// maxSeen bounds the ids that are kept of events in the overlap. An event
	// that is forgotten too early is only read again.
	maxSeen = 20_000

	// How long Insights is left alone: where the organisation does not have it,
	// where these credentials may not read it, where it refuses the query.
	unpaidWait, forbiddenWait, refusedWait = 24 * time.Hour, time.Hour, time.Hour
)

// Insights reads the events of Directory Insights. It belongs to the Watcher
// that it is given to.
type Insights struct {
	client *Client // of its host
	now    func() time.Time

	state insightsState
	off   time.Time // not asked before
	code  int       // why it is off; zero: it is not
}

// insightsState is kept across restarts.
type insightsState struct {
	// Last is the time of the newest event that was seen, by JumpCloud's clock.
	Last time.Time `json:"last"`
	// Seen are the ids of events within the overlap, and their times.
	Seen map[string]time.Time `json:"seen"`
}

// NewInsights reads events by the credentials, the rate and the organisation
// of c. address is that of the API up to v1, as [InsightsURL] gives it. cursor
// is what [Watcher.Cursor] gave before; nil, or one that cannot be read: begin
// with what happens from now on.
func NewInsights(c *Client, address string, cursor []byte, now func() time.Time) (*Insights, error) {
	u, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("directory insights: url %q: want https://HOST/insights/directory/v1", address)
	}
	if now == nil {
		now = time.Now
	}
	i := &Insights{client: c, now: now}
	if err := json.Unmarshal(cursor, &i.state); err != nil {
		i.state = insightsState{}
	}
	i.client = i.client.at(u.String(), u.Path)
	return i, nil
}

// at is the client for another host or path.
func (c *Client) at(base, path string) *Client {
	other := *c
	other.base, other.basePath = base, path
	return &other
}

func (i *Insights) cursor() []byte {
	if i.state.Last.IsZero() {
		return nil
	}
	raw, err := json.Marshal(i.state)
	if err != nil { // times of years beyond 9999, which no event has
		return nil
	}
	return raw
}

// event is what is looked at of an event. Fields differ by type.
type event struct {
	ID          string    `json:"id"`
	Type        string    `json:"event_type"`
	Time        string    `json:"timestamp"`
	AuthMethod  string    `json:"auth_method"`
	Resource    eventNode `json:"resource"`
	Association struct {
		Connection struct {
			From edgeNode `json:"from"`
			To   edgeNode `json:"to"`
		} `json:"connection"`
	} `json:"association"`
}

// at is when it happened; zero where that cannot be read.
func (e *event) at() time.Time {
	t, _ := time.Parse(time.RFC3339, e.Time)
	return t
}

type eventNode struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type edgeNode struct {
	Type string `json:"type"`
	ID   string `json:"object_id"`
}

// eventTypes are those that tell of something in the state. Indexed values are
// in lower case.
var eventTypes = strings.Fields(`user_create user_update user_delete user_activated user_suspended user_unsuspended user_lockout user_unlocked
	user_password_set user_password_change user_password_expired user_admin_granted user_admin_revoked
	user_create_provision user_update_provision user_delete_provision
	group_create group_update group_delete association_change activedirectory_create activedirectory_delete
	integrationattribute_include integrationattribute_exclude`)

// errTooMany: so much happened that lists are cheaper.
var errTooMany = errors.New("more events than are read one by one")

// errOff: Insights is not there, or not for us, and is left alone for a while.
var errOff = errors.New("directory insights is not used")

// events gives those that were not given before, and takes them for given. The
// error is errOff, errTooMany, or that of a request.
func (i *Insights) events(ctx context.Context) ([]event, error) {
	if i.now().Before(i.off) {
		return nil, errOff
	}
	if i.state.Last.IsZero() {
		return nil, i.start(ctx)
	}
	var fresh []event
	newest, after := i.state.Last, json.RawMessage(nil)
	seen := make(map[string]time.Time)
	for page := 0; ; page++ {
		if page == insightsPages {
			i.state = insightsState{}
			return nil, errTooMany
		}
		p, err := i.page(ctx, i.state.Last.Add(-overlap), "ASC", insightsPage, after)
		if err != nil {
			return nil, i.refused(err)
		}
		for _, e := range p.events {
			_, known := i.state.Seen[e.ID]
			_, twice := seen[e.ID]
			if e.ID == "" || !known && !twice {
				fresh = append(fresh, e)
			}
			if seen[e.ID] = e.at(); e.at().After(newest) {
				newest = e.at()
			}
		}
		if len(p.events) < p.limit {
			if !p.date.IsZero() && newest.After(p.date) {
				newest = p.date // a start in the future is refused
			}
			break
		}
		if after = p.after; after == nil {
			return nil, i.client.hollow(http.MethodPost, "/events", "a full page has no X-Search_after")
		}
	}
	i.code = 0
	i.state.Last = newest
	i.keep(seen)
	return fresh, nil
}

// keep remembers the ids of a poll.
func (i *Insights) keep(seen map[string]time.Time) {
	delete(seen, "")
	for id, at := range seen {
		if at.Before(i.state.Last.Add(-overlap)) {
			delete(seen, id)
		}
	}
	if len(seen) > maxSeen {
		ids := make([]string, 0, len(seen))
		for id := range seen {
			ids = append(ids, id)
		}
		slices.SortFunc(ids, func(a, b string) int { return cmp.Or(seen[a].Compare(seen[b]), cmp.Compare(a, b)) })
		for _, id := range ids[:len(ids)-maxSeen] {
			delete(seen, id)
		}
	}
	i.state.Seen = seen
}

// start finds where events are now, by JumpCloud's clock.
func (i *Insights) start(ctx context.Context) error {
	p, err := i.page(ctx, i.now().Add(-time.Hour), "DESC", 1, nil)
	if err != nil {
		return i.refused(err)
	}
	last := p.date
	if last.IsZero() {
		last = i.now()
	}
	if len(p.events) > 0 && !p.events[0].at().IsZero() && p.events[0].at().Before(last) {
		last = p.events[0].at()
	}
	i.code, i.state = 0, insightsState{Last: last.UTC()}
	return nil
}

// refused keeps Insights from being asked for a while where that is of no use.
// What it says the first time is for the log.
func (i *Insights) refused(err error) error {
	var wait time.Duration
	code := 0
	if e, ok := errors.AsType[*apiError](err); ok && e.stage == refused && !Temporary(err) {
		code = e.code
	}
	switch code {
	case 0:
		return err
	case http.StatusPaymentRequired:
		wait = unpaidWait
	case http.StatusUnauthorized, http.StatusForbidden:
		wait = forbiddenWait
	default:
		wait = refusedWait
		i.state = insightsState{} // perhaps the cursor is what is refused
	}
	i.off = i.now().Add(wait)
	if code == i.code {
		return errOff
	}
	i.code = code
	return &offError{err, wait}
}

// offError is the first refusal of its kind.
type offError struct {
	cause error
	wait  time.Duration
}

func (e *offError) Error() string {
	what := "directory insights refuses the query"
	switch {
	case is(e.cause, func(a *apiError) bool { return a.code == http.StatusPaymentRequired }):
		what = "the organisation does not have directory insights"
	case Unauthorized(e.cause):
		what = "directory insights is not readable with these credentials; give the administrator or service account a role that reads it"
	}
	return fmt.Sprintf("%s; it is asked again after %v: %v", what, e.wait, e.cause)
}

func (e *offError) Unwrap() error { return e.cause }

func (e *offError) Is(target error) bool { return target == errOff }

type eventPage struct {
	events []event
	limit  int             // rows of a full page
	after  json.RawMessage // where the next one begins; nil: not said
	date   time.Time       // of the answer, by JumpCloud's clock; zero: not said
}

func (i *Insights) page(ctx context.Context, start time.Time, sort string, limit int, after json.RawMessage) (eventPage, error) {
	query := map[string]any{
		"service": []string{"directory"}, "start_time": start.UTC().Format("2006-01-02T15:04:05.000Z"), "sort": sort, "limit": limit,
		"fields":      []string{"id", "event_type", "timestamp", "auth_method", "resource", "association"},
		"search_term": map[string]any{"and": []any{map[string]any{"event_type": eventTypes}}},
	}
	if after != nil {
		query["search_after"] = after
	}
	b, err := jsonBody(query)
	if err != nil {
		return eventPage{}, err
	}
	p := eventPage{limit: limit}
	var rows []json.RawMessage
	err = i.client.read(ctx, call{method: http.MethodPost, path: "/events", body: b, out: &rows, header: func(h http.Header) {
		if n, err := strconv.Atoi(h.Get("X-Limit")); err == nil && n > 0 {
			p.limit = n
		}
		var list []any
		if raw := []byte(h.Get("X-Search_after")); json.Unmarshal(raw, &list) == nil {
			p.after = raw
		}
		p.date, _ = http.ParseTime(h.Get("Date"))
	}})
	for _, row := range rows {
		var e event
		_ = json.Unmarshal(row, &e) // what has another type than documented stays empty, and says that anything may have changed
		p.events = append(p.events, e)
	}
	return p, err
}
