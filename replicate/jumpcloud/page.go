package jumpcloud

import (
	"context"
	"fmt"
	"iter"
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
		last, skip := "", 0
		for {
			page, err := c.userPage(ctx, filter, skip)
			if err != nil {
				yield(User{}, err)
				return
			}
			rows := page.Results
			if skip > 0 && (len(rows) == 0 || rows[0].ID > last) {
				skip = max(0, skip-pageSize) // rows before it have gone: look further back
				continue
			}
			for _, u := range rows {
				if u.ID <= last {
					continue
				}
				if last = u.ID; !yield(u, nil) {
					return
				}
			}
			// A short page is the last, unless the server gives less than was
			// asked for and says that there is more.
			if end := skip + len(rows); len(rows) < 2 || (len(rows) < pageSize && end >= page.Total) {
				return
			}
			skip += len(rows) - 1
		}
	}
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

// list reads all pages of a v2 list. Such lists are short (the AD objects of
// an organisation, the agents of one), and no sort key is documented for
// them: beyond one page a row deleted meanwhile can hide another.
func list[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all []T
	for {
		var page []T
		query := url.Values{"limit": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(len(all))}}
		if err := c.get(ctx, path, query, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
	}
}
