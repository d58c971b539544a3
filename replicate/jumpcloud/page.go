package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is the most that v1 and v2 give at once.
const pageSize = 100

// userPage is the answer of v1's list of users.
type userPage struct {
	Results []User `json:"results"`
	Total   int    `json:"totalCount"`
}

// users reads a list of users as the package comment describes, ascending by
// id. Rows that come or go meanwhile may be given or not; every other row is
// given once.
func (c *Client) users(ctx context.Context, filter url.Values) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for w := (userWalk{filter: filter}); !w.done; {
			rows, err := w.next(ctx, c)
			for _, u := range rows {
				if !yield(u, nil) {
					return
				}
			}
			if err != nil {
				yield(User{}, err)
				return
			}
		}
	}
}

// userWalk is a list of users that is being read, page by page.
type userWalk struct {
	filter url.Values
	last   string // highest id given
	skip   int
	given  int // rows
	idle   int // pages that brought nothing
	done   bool
	broken bool // what was read contradicts itself: only a new walk can end well
}

// next reads a page and gives the rows that are new. After an error the same
// page can be asked for again, unless the walk is broken.
func (w *userWalk) next(ctx context.Context, c *Client) ([]User, error) {
	page, err := c.userPage(ctx, w.filter, w.skip)
	if err != nil {
		return nil, err
	}
	rows := page.Results
	if w.skip > 0 && (len(rows) == 0 || rows[0].ID > w.last || rows[len(rows)-1].ID <= w.last) {
		if w.idle++; w.idle > maxIdle {
			w.broken = true
			return nil, c.restless("/api/systemusers")
		}
	}
	if w.skip > 0 && (len(rows) == 0 || rows[0].ID > w.last) {
		w.skip = max(0, w.skip-pageSize) // rows before it have gone: look further back
		return nil, nil
	}
	fresh := rows
	for len(fresh) > 0 && fresh[0].ID <= w.last {
		fresh = fresh[1:]
	}
	if len(fresh) > 0 {
		w.last = fresh[len(fresh)-1].ID
		w.given += len(fresh)
	}
	// A short page is the last, unless the server gives less than was asked for
	// and says that there is more.
	if end := w.skip + len(rows); len(rows) < 2 || (len(rows) < pageSize && end >= page.Total) {
		// Of a filtered list it is not documented what the total counts.
		if w.filter == nil && w.given < page.Total {
			w.broken = true
			return fresh, c.short("/api/systemusers", page.Total, w.given)
		}
		w.done = true
		return fresh, nil
	}
	w.skip += len(rows) - 1
	return fresh, nil
}

// short is the error of a list that is not complete.
func (c *Client) short(path string, total, given int) error {
	return &apiError{op: "GET " + c.basePath + path, code: http.StatusOK, stage: unknown, again: true,
		cause: fmt.Errorf("the list has %d rows, but only %d were given", total, given)}
}

// restless is the error of a list that has no end.
func (c *Client) restless(path string) error {
	return &apiError{op: "GET " + c.basePath + path, code: http.StatusOK, stage: unknown, again: true,
		cause: errors.New("the rows change their order all the time, or skip has no effect")}
}

func (c *Client) userPage(ctx context.Context, filter url.Values, skip int) (userPage, error) {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(skip)}, "sort": {"_id"}}
	for k, v := range filter {
		query[k] = v
	}
	var page userPage
	if err := c.get(ctx, "/api/systemusers", query, &page); err != nil {
		return page, err
	}
	// Unsorted rows would make the loop skip some without a trace.
	for i, u := range page.Results {
		if u.ID == "" || (i > 0 && u.ID <= page.Results[i-1].ID) {
			return page, &apiError{op: "GET " + c.basePath + "/api/systemusers", code: 200, stage: unknown,
				cause: fmt.Errorf("row %d is out of order: want them sorted by _id", skip+i)}
		}
	}
	return page, nil
}

// passes bounds how often a list is begun anew when rows are missing in it.
const passes = 3

// walk reads a v2 list in whatever order JumpCloud keeps it, and gives every
// row once. Rows that come or go meanwhile may be given or not.
func walk[T any](ctx context.Context, c *Client, path string, query url.Values, id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for w := newRowWalk(path, query, id); !w.done; {
			rows, err := w.next(ctx, c)
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}

// rowWalk is a v2 list that is being read. Each page begins with a row that was
// seen before; one that does not is read again from further back, because rows
// before it have gone. At the end JumpCloud's own count, where it gives one,
// must have been reached.
type rowWalk[T any] struct {
	path   string
	query  url.Values
	id     func(T) string
	seen   map[string]bool
	pass   int
	skip   int
	idle   int // pages that brought nothing
	done   bool
	broken bool // as in userWalk
}

func newRowWalk[T any](path string, query url.Values, id func(T) string) *rowWalk[T] {
	return &rowWalk[T]{path: path, query: query, id: id, seen: make(map[string]bool), pass: 1}
}

// next is as that of userWalk.
func (w *rowWalk[T]) next(ctx context.Context, c *Client) (fresh []T, err error) {
	rows, total, err := rowsOf[T](ctx, c, w.path, w.query, w.skip)
	if err != nil {
		return nil, err
	}
	back := w.skip > 0 && (len(rows) == 0 || !w.seen[w.id(rows[0])])
	for _, row := range rows {
		if back {
			break
		}
		key := w.id(row)
		if key == "" {
			w.broken = true
			return fresh, &apiError{op: "GET " + c.basePath + w.path, code: http.StatusOK, stage: unknown, cause: errors.New("a row has no id")}
		}
		if !w.seen[key] {
			w.seen[key], fresh = true, append(fresh, row)
		}
	}
	if len(fresh) == 0 {
		if w.idle++; w.idle > maxIdle {
			w.broken = true
			return nil, c.restless(w.path)
		}
	}
	switch end := w.skip + len(rows); {
	case back:
		w.skip = max(0, w.skip-pageSize)
	case len(rows) >= 2 && (len(rows) == pageSize || end < total):
		w.skip = end - 1
	case len(w.seen) >= total:
		w.done = true
	case w.pass == passes:
		w.broken = true
		return fresh, c.short(w.path, total, len(w.seen))
	default:
		w.skip, w.pass = 0, w.pass+1
	}
	return fresh, nil
}

// maxIdle bounds the pages of one list that bring nothing new: each time a
// hundred rows may have come or gone.
const maxIdle = 1000

// rowsOf reads one page; total is negative when JumpCloud does not say it.
func rowsOf[T any](ctx context.Context, c *Client, path string, query url.Values, skip int) (rows []T, total int, err error) {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(skip)}}
	for k, v := range query {
		q[k] = v
	}
	total = -1
	err = c.read(ctx, call{method: http.MethodGet, path: path, query: q, out: &rows, header: func(h http.Header) {
		if n, err := strconv.Atoi(h.Get("x-total-count")); err == nil {
			total = n
		}
	}})
	return rows, total, err
}

func sorted(by string) url.Values { return url.Values{"sort": {by}} }

// list reads all pages of a v2 list that is short: the AD objects of an
// organisation, the agents of one.
func list[T any](ctx context.Context, c *Client, path string, id func(T) string) ([]T, error) {
	var all []T
	for row, err := range walk(ctx, c, path, nil, id) {
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}
