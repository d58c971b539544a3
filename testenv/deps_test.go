package testenv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dirgate/dirgate"

// row says what one package may import.
type row struct {
	pkg string // path below the module; "dir/..." covers all below dir that have no row of their own
	may []string
	// not lists standard packages that would break what the package promises.
	not []string
	why string // the reason for may and not, for the one who meets the error
}

// everything in row.may allows all packages of ours.
const everything = "*"

// leaves import no package of ours but other leaves, so nothing that imports
// them draws in more.
var leaves = []string{"gateway/ldapwire", "gateway/netwait", "gateway/dc", "store/identity", "store/secret", "certs"}

var (
	noNet  = []string{"net", "net/http", "crypto/tls"}
	noIO   = append([]string{"os"}, noNet...)
	noWill = append([]string{"context", "log", "log/slog"}, noIO...)
)

// table is the import table: every package has a row. Tests are not bound by it.
var table = []row{
	{"certs", nil, nil, "a leaf: used from everywhere"},
	{"certs/certstest", []string{"certs"}, nil, "a test CA, for tests and simulators only"},
	{"store/identity", nil, noIO, "a leaf of values only"},
	{"store/secret", nil, noNet, "a leaf: no way out for a password"},
	{"store", []string{"store/identity", "store/secret"}, nil, "the store knows neither side"},

	{"gateway/ldapwire", []string{"store/secret"}, noIO, "a codec: no sockets, so that an event loop stays possible"},
	{"gateway/netwait", nil, nil, "a leaf: it knows sockets and no protocol"},
	{"gateway/dc", []string{"gateway/ldapwire", "gateway/netwait"}, nil, "a leaf: dials domain controllers, knows no session"},
	{"gateway", []string{"gateway/ldapwire", "gateway/netwait", "gateway/dc", "store/identity", "store/secret"}, nil,
		"the data path reaches the store only through an interface of its own"},

	{"delegate/jsonbody", []string{"store/secret"}, noNet, "a decoder: its fuzz target compiles little"},
	{"delegate", []string{"delegate/jsonbody", "gateway/ldapwire", "gateway/dc", "store/identity", "store/secret"}, nil,
		"validation works without gateway and replication"},
	{"delegate/portal", []string{"delegate", "store/secret"}, nil, "pages see what the API sees, and passwords are secrets from the form on"},

	{"replicate/plan", []string{"store/identity"}, noWill, "pure: the same input gives the same plan"},
	{"replicate/ad", []string{"gateway/dc", "store/identity", "store/secret"}, nil, "a client of one side"},
	{"replicate/jumpcloud", []string{"store/identity", "store/secret"}, nil, "a client of one side"},
	{"replicate/settings", []string{"replicate/plan", "store", "store/identity"}, nil, "both engines plan by the same settings"},
	{"replicate/reconcile", []string{"replicate/plan", "replicate/settings", "replicate/ad", "replicate/jumpcloud", "store", "store/identity", "store/secret"}, nil, "users and groups, from AD to JumpCloud"},
	{"replicate", []string{"replicate/plan", "replicate/settings", "replicate/ad", "replicate/jumpcloud", "store", "store/identity", "store/secret"}, nil,
		"the engine is the only one that knows both sides"},

	{"cmd/dirgate", []string{everything}, nil, "main wires everything"},
	{"cmd/internal/config", leaves, nil, "a file format, not a program"},
	{"cmd/internal/admin", []string{"store", "store/identity", "store/secret", "replicate", "replicate/plan", "replicate/reconcile", "replicate/ad", "replicate/jumpcloud", "delegate"}, nil,
		"operations of the daemon, not of its listeners; what concerns one object is asked of either side by its client, whose values and errors it reads"},

	{"testenv", nil, nil, "holds tests only"},
	{"testenv/samba", append([]string{"testenv/adsim"}, leaves...), nil, "test peers must not share code with what they test"},
	{"testenv/adtest", append([]string{"testenv/adsim"}, leaves...), nil, "test peers must not share code with what they test"},
	{"testenv/bench", append([]string{"gateway"}, leaves...), nil, "it measures the gateway alone, wired as main does"},
	{"testenv/...", leaves, nil, "test peers must not share code with what they test"},
}

// apart never import one another, also not through what they import: the
// consumer declares an interface and cmd/dirgate wires.
var apart = []string{"gateway", "delegate", "replicate"}

// thirdParty lists libraries that only some packages may import ("dir/..."
// means dir and all below).
var thirdParty = []struct {
	prefix string
	may    []string
	why    string
}{
	{"github.com/dgraph-io/", []string{"store"}, "another store must be able to take Badger's place"},
	{"github.com/jimlambrt/gldap", []string{"testenv/..."}, "it serves simulators; the gateway's package comment says why not more"},
	{"github.com/go-ldap/ldap", []string{"replicate/ad", "testenv/..."}, "one client of AD, and test peers"},
	{"github.com/prometheus/", []string{"gateway", "replicate", "delegate", "cmd/...", "testenv/bench"}, "leaves and store report through their callers"},
	{"github.com/urfave/cli", []string{"cmd/..."}, "the command line is cmd's"},
	{"github.com/goccy/go-yaml", []string{"cmd/internal/config", "testenv/jcsim/contract"}, "there is one configuration file; the other reads API documents"},
}

// listed is what this test needs of a package in go list's answer.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// path is the package's path below the module.
func (p listed) path() string { return below(p.ImportPath) }

// below cuts the module off an import path of ours; "." is the module itself.
func below(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// covers reports whether a pattern of row.pkg or thirdParty.may is for pkg.
func covers(pattern, pkg string) bool {
	dir, wild := strings.CutSuffix(pattern, "/...")
	return pkg == dir || wild && strings.HasPrefix(pkg, dir+"/")
}

// find returns the row of a package: its own, or the one that covers it.
func find(pkg string) (row, bool) {
	for _, exact := range []bool{true, false} {
		i := slices.IndexFunc(table, func(r row) bool { return r.pkg == pkg || !exact && covers(r.pkg, pkg) })
		if i >= 0 {
			return table[i], true
		}
	}
	return row{}, false
}

// violations says what is wrong with the imports of one package.
func violations(p listed) []string {
	var out []string
	pkg := p.path()
	r, ok := find(pkg)
	if !ok {
		return []string{pkg + ": has no row in the import table: add one with its reason"}
	}
	for _, imp := range p.Imports {
		switch {
		case ours(imp):
			if !slices.Contains(r.may, everything) && !slices.Contains(r.may, below(imp)) {
				out = append(out, fmt.Sprintf("%s: must not import %s: %s", pkg, below(imp), r.why))
			}
		case slices.Contains(r.not, imp):
			out = append(out, fmt.Sprintf("%s: must not import %s: %s", pkg, imp, r.why))
		default:
			for _, lib := range thirdParty {
				allowed := slices.ContainsFunc(lib.may, func(m string) bool { return covers(m, pkg) })
				if strings.HasPrefix(imp, lib.prefix) && !allowed {
					out = append(out, fmt.Sprintf("%s: must not import %s: %s", pkg, imp, lib.why))
				}
			}
		}
	}
	for _, other := range apart {
		mine, _, _ := strings.Cut(pkg, "/")
		// Leaves below a folder belong to everyone; the folder's own package does not.
		if slices.Contains(apart, mine) && mine != other && slices.Contains(p.Deps, module+"/"+other) {
			out = append(out, fmt.Sprintf("%s: must not depend on %s: declare an interface here and let cmd/dirgate wire it", pkg, other))
		}
	}
	return out
}

// TestImports holds the import table against every package of the module.
func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(output)); ; seen++ {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
	if seen < 10 {
		t.Errorf("go list named %d packages, want the whole module", seen)
	}
}

// TestViolations checks that the check above can fail.
func TestViolations(t *testing.T) {
	pkg := func(path string, imports ...string) listed {
		return listed{ImportPath: module + "/" + path, Imports: imports, Deps: imports}
	}
	tests := []struct {
		name string
		pkg  listed
		want []string // a part of each violation
	}{
		{"allowed", pkg("gateway", "net", module+"/gateway/ldapwire", "github.com/prometheus/client_golang/prometheus"), nil},
		{"main may all of ours", pkg("cmd/dirgate", module+"/gateway", module+"/store"), nil},
		{"simulator", pkg("testenv/new", module+"/certs", "github.com/jimlambrt/gldap"), nil},
		{"own row before the pattern", pkg("testenv/samba", module+"/testenv/adsim"), nil},
		{"no row", pkg("gateway/extra"), []string{"gateway/extra: has no row"}},
		{"module root", listed{ImportPath: module}, []string{".: has no row"}},
		{"gateway to store", pkg("gateway", module+"/store"), []string{"must not import store: the data path"}},
		{"gateway to replicate", pkg("gateway", module+"/replicate"), []string{"must not import replicate", "must not depend on replicate"}},
		{"indirect", listed{ImportPath: module + "/delegate", Deps: []string{module + "/gateway"}}, []string{"must not depend on gateway"}},
		{"simulator to engine", pkg("testenv/jcsim", module+"/replicate/jumpcloud"), []string{"must not import replicate/jumpcloud"}},
		{"pure planner with a clock", pkg("replicate/plan", "context"), []string{"must not import context: pure"}},
		{"codec with sockets", pkg("gateway/ldapwire", "net"), []string{"must not import net: a codec"}},
		{"badger elsewhere", pkg("replicate", "github.com/dgraph-io/badger/v4"), []string{"must not import github.com/dgraph-io/badger/v4"}},
		{"gldap in the gateway", pkg("gateway", "github.com/jimlambrt/gldap"), []string{"must not import github.com/jimlambrt/gldap"}},
		{"go-ldap in cmd", pkg("cmd/dirgate", "github.com/go-ldap/ldap/v3"), []string{"must not import github.com/go-ldap/ldap/v3"}},
		{"metrics in a leaf", pkg("gateway/dc", "github.com/prometheus/client_golang/prometheus"), []string{"must not import github.com/prometheus"}},
		{"cli in the engine", pkg("replicate", "github.com/urfave/cli/v2"), []string{"must not import github.com/urfave/cli/v2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations(tt.pkg)
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %d violations", got, len(tt.want))
			}
			for i, part := range tt.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("violation %q lacks %q", got[i], part)
				}
			}
		})
	}
}
