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
		last, skip, given, idle := "", 0, 0, 0
		for {
			page, err := c.userPage(ctx, filter, skip)
			if err != nil {
				yield(User{}, err)
				return
			}
			rows := page.Results
			if skip > 0 && (len(rows) == 0 || rows[0].ID > last || rows[len(rows)-1].ID <= last) {
				if idle++; idle > maxIdle {
					yield(User{}, c.restless("/api/systemusers"))
					return
				}
			}
			if skip > 0 && (len(rows) == 0 || rows[0].ID > last) {
				skip = max(0, skip-pageSize) // rows before it have gone: look further back
				continue
			}
			for _, u := range rows {
				if u.ID <= last {
					continue
				}
				given++
				if last = u.ID; !yield(u, nil) {
					return
				}
			}
			// A short page is the last, unless the server gives less than was
			// asked for and says that there is more.
			if end := skip + len(rows); len(rows) < 2 || (len(rows) < pageSize && end >= page.Total) {
				// Of a filtered list it is not documented what the total counts.
				if filter == nil && given < page.Total {
					yield(User{}, c.short("/api/systemusers", page.Total, given))
				}
				return
			}
			skip += len(rows) - 1
		}
	}
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
// row once. Each page begins with a row that was seen before; one that does
// not is read again from further back, because rows before it have gone. At
// the end JumpCloud's own count, where it gives one, must have been reached.
// Rows that come or go meanwhile may be given or not.
func walk[T any](ctx context.Context, c *Client, path string, query url.Values, id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := make(map[string]bool)
		for pass, skip, idle := 1, 0, 0; ; {
			rows, total, err := rowsOf[T](ctx, c, path, query, skip)
			if err != nil {
				yield(none, err)
				return
			}
			if skip > 0 && (len(rows) == 0 || !seen[id(rows[0])]) {
				if idle++; idle > maxIdle {
					yield(none, c.restless(path))
					return
				}
				skip = max(0, skip-pageSize)
				continue
			}
			before := len(seen)
			for _, row := range rows {
				switch key := id(row); {
				case key == "":
					yield(none, &apiError{op: "GET " + c.basePath + path, code: http.StatusOK, stage: unknown, cause: errors.New("a row has no id")})
					return
				case seen[key]:
				default:
					if seen[key] = true; !yield(row, nil) {
						return
					}
				}
			}
			if len(seen) == before {
				if idle++; idle > maxIdle {
					yield(none, c.restless(path))
					return
				}
			}
			if end := skip + len(rows); len(rows) >= 2 && (len(rows) == pageSize || end < total) {
				skip = end - 1
				continue
			}
			if len(seen) >= total {
				return
			}
			if skip = 0; pass == passes {
				yield(none, c.short(path, total, len(seen)))
				return
			}
			pass++
		}
	}
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
