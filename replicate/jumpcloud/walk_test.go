package jumpcloud

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestI8_WalkWhileRowsGo takes rows away between two pages: those that stay
// must all be given, once, in each kind of list.
func TestI8_WalkWhileRowsGo(t *testing.T) {
	const all, gone, after = 350, 120, 50
	b := newBench(t)
	ctx, ad := t.Context(), b.directory(t)
	var users, groups []string
	for i := range all {
		users = append(users, b.user(t, jcsim.User{Username: fmt.Sprintf("u%d", i), Email: fmt.Sprintf("u%d@corp.example", i)}))
		id, err := b.sim.AddGroup(jcsim.Group{Name: fmt.Sprintf("group %d", i)})
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, id)
	}
	big, err := b.sim.AddGroup(jcsim.Group{Name: "members"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		for _, err := range []error{b.sim.SetMember(big, users[i], true), b.client.BindUser(ctx, ad, users[i]), b.client.BindGroup(ctx, ad, groups[i])} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	listed := func(yield func(string, error) bool) {
		for g, err := range b.client.ListGroups(ctx) {
			if g.ID != big && !yield(g.ID, err) {
				return
			}
		}
	}
	for _, tt := range []struct {
		name   string
		rows   iter.Seq2[string, error]
		all    []string
		remove func(id string) error
	}{
		{"members", b.client.Members(ctx, big), users, func(id string) error { return b.client.RemoveMember(ctx, big, id) }},
		{"bound users", b.client.BoundUsers(ctx, ad), users, func(id string) error { return b.client.UnbindUser(ctx, ad, id) }},
		{"bound groups", b.client.BoundGroups(ctx, ad), groups, func(id string) error { return b.client.UnbindGroup(ctx, ad, id) }},
		{"groups", listed, groups, func(id string) error { return b.client.DeleteGroup(ctx, id) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for id, err := range tt.rows {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, id); len(got) != after {
					continue
				}
				for _, id := range tt.all[:gone] {
					if err := tt.remove(id); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := slices.Concat(tt.all[:pageSize], tt.all[gone:]) // the first page was read before
			if !slices.Equal(got, want) {
				t.Errorf("got %d rows, want %d, each once", len(got), len(want))
			}
		})
	}
}

// rowsServer serves a list as rows says: what page number n (from 0) holds, and
// the total it claims; negative: none.
func rowsServer(t *testing.T, rows func(n, skip int) (ids []string, total int)) *Client {
	t.Helper()
	n := 0
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		skip, _ := strconv.Atoi(r.URL.Query().Get("skip"))
		ids, total := rows(n, skip)
		n++
		if total >= 0 {
			w.Header().Set("x-total-count", strconv.Itoa(total))
		}
		docs := make([]string, len(ids))
		for i, id := range ids {
			docs[i] = fmt.Sprintf(`{"id":%q,"name":"g"}`, id)
		}
		_, _ = fmt.Fprintf(w, "[%s]", strings.Join(docs, ","))
	}))
	t.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL, APIKey: text("key"), HTTP: srv.Client(), RequestsPerSecond: 1e5})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%024x", i+1))
	}
	return all
}

// TestI8_WalkStrangeLists: a list that is not complete ends with an error.
func TestI8_WalkStrangeLists(t *testing.T) {
	for _, tt := range []struct {
		name string
		rows func(n, skip int) ([]string, int)
		want int // rows given
		says string
	}{
		{"one short page", func(int, int) ([]string, int) { return names(0, 3), 3 }, 3, ""},
		{"nothing", func(int, int) ([]string, int) { return nil, 0 }, 0, ""},
		{"no total", func(_, skip int) ([]string, int) { return names(skip, min(skip+100, 150)), -1 }, 150, ""},
		{"pages smaller than asked for", func(_, skip int) ([]string, int) { return names(skip, min(skip+40, 150)), 150 }, 150, ""},
		{"a page short by mistake, once", func(n, skip int) ([]string, int) {
			if n == 1 {
				return names(skip, skip+1), 250
			}
			return names(skip, min(skip+100, 250)), 250
		}, 250, ""},
		{"rows that never come", func(_, skip int) ([]string, int) { return names(skip, min(skip+100, 150)), 200 }, 150, "200 rows, but only 150"},
		{"an empty answer with a total", func(int, int) ([]string, int) { return nil, 7 }, 0, "7 rows, but only 0"},
		{"never the same order", func(n, skip int) ([]string, int) {
			return names(1000*n, 1000*n+100), 1 << 20
		}, -1, "change their order"},
		{"skip without effect", func(int, int) ([]string, int) { return names(0, 100), 500 }, 100, "skip has no effect"},
		{"no id", func(int, int) ([]string, int) { return []string{""}, 1 }, 0, "no id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := 0
			var last error
			for _, err := range rowsServer(t, tt.rows).ListGroups(t.Context()) {
				if err != nil {
					last = err
					continue
				}
				got++
			}
			if tt.want >= 0 && got != tt.want {
				t.Errorf("got %d rows, want %d", got, tt.want)
			}
			if (last == nil) != (tt.says == "") || !strings.Contains(fmt.Sprint(last), tt.says) || last != nil && Refused(last) {
				t.Errorf("got %v, want %q", last, tt.says)
			}
		})
	}
}

// TestI8_UsersCutShort: a list of users with fewer rows than JumpCloud counts
// ends with an error.
func TestI8_UsersCutShort(t *testing.T) {
	for name, body := range map[string]string{
		"no end":    fmt.Sprintf(`{"totalCount":500,"results":[{"_id":"%s"}]}`, strings.Join(names(0, 100), `"},{"_id":"`)),
		"nothing":   `{"totalCount":3,"results":[]}`,
		"one":       `{"totalCount":3,"results":[{"_id":"1"}]}`,
		"no list":   `{"totalCount":3}`,
		"all of it": `{"totalCount":1,"results":[{"_id":"1"}]}`,
	} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		c, err := New(Config{URL: srv.URL, APIKey: text("key"), HTTP: srv.Client(), RequestsPerSecond: 1e5})
		if err != nil {
			t.Fatal(err)
		}
		says := "but only"
		if name == "no end" {
			says = "skip has no effect"
		}
		var last error
		for _, err := range c.ListUsers(t.Context()) {
			last = err
		}
		if whole := name == "all of it"; (last == nil) != whole || !whole && !strings.Contains(fmt.Sprint(last), says) {
			t.Errorf("%s: got %v", name, last)
		}
		srv.Close()
	}
}

// manyUsers serves n users without having them all at once.
func manyUsers(tb testing.TB, n int) *Client {
	tb.Helper()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		skip, _ := strconv.Atoi(r.URL.Query().Get("skip"))
		_, _ = fmt.Fprintf(w, `{"totalCount":%d,"results":[`, n)
		for i := skip; i < min(skip+pageSize, n); i++ {
			if i > skip {
				_, _ = w.Write([]byte(","))
			}
			_, _ = fmt.Fprintf(w, `{"_id":"%024x","username":"user%d","email":"user%d@corp.example","firstname":"Given","lastname":"Sur","state":"ACTIVATED",
				"department":"R&D","jobTitle":"Engineer","phoneNumbers":[{"type":"work","number":"%d"}],"addresses":[{"type":"work","locality":"Oslo"}],
				"restrictedFields":[{"field":"email","type":"active_directory","id":"64b0c0ffee64b0c0ffee0001"}]}`, i+1, i, i, i)
		}
		_, _ = w.Write([]byte("]}"))
	}))
	tb.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL, APIKey: text("key"), HTTP: srv.Client(), RequestsPerSecond: 1e6})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestListUsersMemory: a page is kept at a time, however many there are.
func TestListUsersMemory(t *testing.T) {
	const n, most = 10_000, 2 << 20
	c := manyUsers(t, n)
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var early, late uint64
	got := 0
	for _, err := range c.ListUsers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch got++; got {
		case 500:
			early = used()
		case n - 500:
			late = used()
		}
	}
	if got != n {
		t.Errorf("got %d users, want %d", got, n)
	}
	if late > early+most {
		t.Errorf("heap grew from %d to %d bytes", early, late)
	}
}

func BenchmarkListUsers10000(b *testing.B) {
	c := manyUsers(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range c.ListUsers(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 10_000 {
			b.Fatalf("got %d users", n)
		}
	}
}

// BenchmarkCreateAndBind is the import of one user, against a simulator that
// has as many users as were made before.
func BenchmarkCreateAndBind(b *testing.B) {
	w := newBench(b)
	ad := w.directory(b)
	cfg := w.config
	cfg.RequestsPerSecond, cfg.Log = 1e6, nil
	c := w.make(b, cfg)
	i := 0
	for b.Loop() {
		i++
		name := fmt.Sprintf("user%d", i)
		u, err := c.CreateUser(b.Context(), ad, []Field{{"username", name}, {"email", name + "@corp.example"}, {"restrictedFields", "email password"}})
		if err == nil {
			err = c.BindUser(b.Context(), ad, u.ID)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
