package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const file = "/etc/dirgate/dirgate.yaml"

// custom differs from Default in every key.
func custom() Config {
	return Config{
		DataDir:       "/srv/dirgate",
		MasterKeyFile: "/srv/keys/master.key",
		DNSServer:     "192.0.2.1:53",
		TLS:           TLS{CertFile: "/srv/tls/a.crt", KeyFile: "/srv/tls/a.key", MinVersion: "1.3", ClientCAFile: "/srv/tls/clients.crt"},
		Gateway: Gateway{LDAPS: "[::1]:1636", MaxMessage: 256 * KiB, IdleTimeout: Duration(90 * time.Second), MaxConnections: 7,
			LDAP: "127.0.0.1:1389", AllowPlaintextBind: true, SASL: "relay", MaxConnectionsPerIP: 3, ProxyTrusted: "10.0.0.0/8,192.0.2.1/32,fd00::/8"},
		Delegate:  Delegate{Listen: ":8443", Preflight: "warn", TellUnknownUsers: true, RefusalsPerClient: 5, RefusalsPerUser: 4},
		Metrics:   Metrics{Listen: "127.0.0.1:0"},
		Admin:     Admin{Socket: "/srv/admin.sock"},
		JumpCloud: JumpCloud{ClientID: "client", ClientSecretFile: "/srv/keys/jc.secret", TokenURL: "https://token.example.test/oauth2/token", InsightsURL: "https://insights.example.test/v1", RequestsPerSecond: 2.5, MaxInFlight: 1},
		Replicate: Replicate{Workers: 9, ImportInterval: Duration(5 * time.Second), FullEvery: Duration(time.Hour), SyncInterval: Duration(2 * time.Second)},
		Guards: Guards{Removals: Guard{1, 2.5}, Suspensions: Guard{3, 4}, Groups: Guard{6, 7}, Memberships: Guard{8, 100},
			ADDisables: Guard{10, 11}, ADMemberships: Guard{12, 13}},
		Changelog: Changelog{Retention: Duration(1000 * time.Hour)},
		Log:       Log{Level: "debug", Format: "json"},
	}
}

func TestParse(t *testing.T) {
	got, err := Parse(file, []byte(`
data_dir: /srv/dirgate
master_key_file: "/srv/keys/master.key"
dns_server: 192.0.2.1:53
tls:
  cert_file: /srv/tls/a.crt
  key_file: '/srv/tls/a.key'
  min_version: 1.3      # a float to YAML, a text to us
  client_ca_file: /srv/tls/clients.crt
delegate: {listen: ":8443", policy_preflight: warn, tell_unknown_users: true, refusals_per_client: 5, refusals_per_user: 4}
gateway: {ldaps: "[::1]:1636", max_message: 256KiB, idle_timeout: 90s, max_connections: 7, max_connections_per_ip: 3,
  ldap: "127.0.0.1:1389", allow_plaintext_bind: true, translate_password_modify: false, lockout_guard: false, reconnect: false, sasl: relay,
  proxy_protocol: {trusted: [10.0.0.0/8, 192.0.2.1, "fd00::/8"]}}
metrics:
  listen: 127.0.0.1:0
admin:
  socket: /srv/admin.sock
jumpcloud:
  client_id: client
  client_secret_file: /srv/keys/jc.secret
  token_url: https://token.example.test/oauth2/token
  insights_url: https://insights.example.test/v1
  requests_per_second: 2.5
  max_in_flight: 1
replicate:
  workers: 9
  import_interval: 5s
  change_notification: false
  full_every: 1h
  sync_interval: 2s
guards:
  removals: {count: 1, percent: 2.5}
  suspensions: {count: 3, percent: 4}
  groups: {count: 6, percent: 7}
  memberships: {count: 8, percent: 100}
  ad_disables: {count: 10, percent: 11}
  ad_memberships: {count: 12, percent: 13}
changelog:
  retention: 1000h
log:
  level: debug
  format: json
`))
	if err != nil {
		t.Fatal(err)
	}
	want := custom()
	want.Path = file
	if *got != want {
		t.Errorf("parse:\n got %+v\nwant %+v", *got, want)
	}
}

func TestParseDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "gateway:\n  # ldaps: \":1\"\nlog:\n", "{}"} {
		got, err := Parse(file, []byte(text))
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		want := Default()
		want.Path = file
		if *got != want {
			t.Errorf("Parse(%q):\n got %+v\nwant %+v", text, *got, want)
		}
	}
}

// TestRelativePaths checks that paths start at the file's folder.
func TestRelativePaths(t *testing.T) {
	got, err := Parse(file, []byte("data_dir: data\nmaster_key_file: ../keys/m.key\ntls: {cert_file: ./a.crt, key_file: a.key}\nadmin: {socket: s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ got, want string }{
		{got.DataDir, "/etc/dirgate/data"},
		{got.MasterKeyFile, "/etc/keys/m.key"},
		{got.TLS.CertFile, "/etc/dirgate/a.crt"},
		{got.TLS.KeyFile, "/etc/dirgate/a.key"},
		{got.Admin.Socket, "/etc/dirgate/s"},
	} {
		if p.got != p.want {
			t.Errorf("path %q, want %q", p.got, p.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	long := "/" + strings.Repeat("x", maxSocketPath)
	tests := []struct {
		name, text string
		line       int
		key        string
		problem    []string // parts of it
	}{
		{"typing error", "gateway:\n  max_mesage: 16MiB\n", 2, "gateway.max_mesage", []string{"unknown key", "did you mean gateway.max_message?"}},
		{"section misspelt", "\ngatway:\n  ldaps: \":636\"\n", 2, "gatway", []string{"unknown key", "did you mean gateway?"}},
		{"key without its section", "ldaps: \":636\"\n", 1, "ldaps", []string{"did you mean gateway.ldaps?"}},
		{"key in another section", "metrics:\n  socket: /x\n", 2, "metrics.socket", []string{"did you mean admin.socket?"}},
		{"key of a later version", "audit_file: /var/log/x\n", 1, "audit_file", []string{"unknown key"}},
		{"subkey that is unknown", "gateway:\n  ldapi: /x\n", 2, "gateway.ldapi", []string{"unknown key"}},
		{"SASL by halves", "gateway:\n  sasl: true\n", 2, "gateway.sasl", []string{`"true" is not one of its values`, "want refuse or relay"}},
		{"account without a secret", "jumpcloud:\n  client_id: a\n", 2, "jumpcloud.client_id", []string{"needs jumpcloud.client_secret_file"}},
		{"secret without an account", "jumpcloud:\n  client_secret_file: a\n", 0, "jumpcloud.client_id", []string{"is missing"}},
		{"account with a space", "jumpcloud:\n  client_id: a b\n", 2, "jumpcloud.client_id", []string{"has a space"}},
		{"tokens in clear", "jumpcloud:\n  token_url: http://a/\n", 2, "jumpcloud.token_url", []string{"is not an https URL"}},
		{"events in clear", "jumpcloud:\n  insights_url: http://a/\n", 2, "jumpcloud.insights_url", []string{"is not an https URL"}},
		{"nothing like it", "zzzzzzzzzzzz: 1\n", 1, "zzzzzzzzzzzz", []string{"unknown key"}},
		{"twice", "data_dir: /a\ndata_dir: /b\n", 2, "", []string{"not valid YAML", "data_dir", "already defined"}},

		{"size without unit", "gateway:\n  max_message: 16\n", 2, "gateway.max_message", []string{`"16" is not a whole number with the unit`, "from 64KiB to 256MiB"}},
		{"decimal unit", "gateway:\n  max_message: 16MB\n", 2, "gateway.max_message", []string{`"16MB" is not a whole number with the unit B, KiB, MiB or GiB`}},
		{"size too small", "gateway: {max_message: 1KiB}\n", 1, "gateway.max_message", []string{"out of bounds", "from 64KiB to 256MiB"}},
		{"size beyond int64", "gateway: {max_message: 9223372036854775807GiB}\n", 1, "gateway.max_message", []string{"is not a whole number"}},
		{"duration without unit", "gateway:\n  idle_timeout: 900\n", 2, "gateway.idle_timeout", []string{`"900" is not a number with a unit`, "90s"}},
		{"duration too short", "gateway: {idle_timeout: 0s}\n", 1, "gateway.idle_timeout", []string{"out of bounds", "from 1s to 168h"}},
		{"fraction", "replicate:\n  workers: 1.5\n", 2, "replicate.workers", []string{`"1.5" is not a whole number`, "from 1 to 256"}},
		{"negative", "gateway: {max_connections: -1}\n", 1, "gateway.max_connections", []string{"out of bounds", "from 1 to 1000000"}},
		{"not a number", "jumpcloud: {requests_per_second: fast}\n", 1, "jumpcloud.requests_per_second", []string{`"fast" is not a number`}},
		{"quoted NaN", "jumpcloud: {requests_per_second: \"NaN\"}\n", 1, "jumpcloud.requests_per_second", []string{"out of bounds", "from 0.1 to 1000"}},
		{"address without port", "gateway: {ldaps: localhost}\n", 1, "gateway.ldaps", []string{`"localhost" is not an address and a port`}},
		{"StartTLS address without port", "gateway: {ldap: off}\n", 1, "gateway.ldap", []string{`"off" is not an address and a port`, `or ""`}},
		{"no truth value", "gateway: {allow_plaintext_bind: yes}\n", 1, "gateway.allow_plaintext_bind", []string{`"yes" is neither: want true or false`}},
		{"port too high", "metrics: {listen: \":70000\"}\n", 1, "metrics.listen", []string{"no port from 0 to 65535"}},
		{"old TLS", "tls:\n  min_version: 1.1\n", 2, "tls.min_version", []string{`"1.1" is not one of its values`, "want 1.2 or 1.3"}},
		{"level", "log: {level: verbose}\n", 1, "log.level", []string{"want debug, info, warn or error"}},
		{"empty path", "data_dir: \"\"\n", 1, "data_dir", []string{"is empty"}},
		{"no value", "data_dir:\n", 1, "data_dir", []string{"has no value", "/var/lib/dirgate"}},
		{"network with host bits", "gateway: {proxy_protocol: {trusted: [10.0.0.1/8]}}\n", 1, "gateway.proxy_protocol.trusted", []string{"write 10.0.0.0/8"}},
		{"no network", "gateway:\n  proxy_protocol:\n    trusted: [lb.example.test]\n", 3, "gateway.proxy_protocol.trusted", []string{"is not a network or an address", "want a list of networks"}},
		{"no list", "gateway: {proxy_protocol: {trusted: 10.0.0.0/8}}\n", 1, "gateway.proxy_protocol.trusted", []string{"want a list", `got "10.0.0.0/8"`}},
		{"list of lists", "gateway: {proxy_protocol: {trusted: [[a]]}}\n", 1, "gateway.proxy_protocol.trusted", []string{"want a list", "got a list"}},
		{"unknown in a section within", "gateway: {proxy_protocol: {trustd: []}}\n", 1, "gateway.proxy_protocol.trustd", []string{"did you mean gateway.proxy_protocol.trusted?"}},
		{"list", "data_dir: [a, b]\n", 1, "data_dir", []string{"got a list"}},
		{"section for a value", "data_dir:\n  path: /x\n", 2, "data_dir", []string{"got a section"}},
		{"value for a section", "log: debug\n", 1, "log", []string{"want a section", `got "debug"`}},
		{"list for the file", "- a\n", 1, "", []string{"want the file of", "got a list"}},
		{"alias", "data_dir: &x /a\nmaster_key_file: *x\n", 1, "data_dir", []string{"anchor, alias or tag"}},
		{"second document", "data_dir: /a\n---\ndata_dir: /b\n", 3, "", []string{"second YAML document"}},
		{"broken", "log: {level: info\n", 1, "", []string{"not valid YAML"}},
		{"socket path", "log:\n  level: info\nadmin:\n  socket: " + long + "\n", 4, "admin.socket", []string{"108 bytes", "at most 107"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(file, []byte(tt.text))
			got, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("parse: got %v, want an *Error", err)
			}
			if got.File != file || got.Line != tt.line || got.Key != tt.key {
				t.Errorf("got %s line %d key %q, want line %d key %q", got.File, got.Line, got.Key, tt.line, tt.key)
			}
			for _, part := range tt.problem {
				if !strings.Contains(got.Problem, part) {
					t.Errorf("problem %q lacks %q", got.Problem, part)
				}
			}
			if strings.Contains(got.Error(), "\n") {
				t.Errorf("error has several lines: %q", got)
			}
		})
	}
}

// TestAllErrors checks that one run shows everything that is wrong.
func TestAllErrors(t *testing.T) {
	_, err := Parse(file, []byte("nope: 1\nlog:\n  level: loud\n"))
	want := file + ":1: nope: unknown key\n" +
		file + `:3: log.level: "loud" is not one of its values: want debug, info, warn or error`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("d.yaml", []byte("data_dir: data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Load("d.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "d.yaml"); got.Path != want {
		t.Errorf("Path %q, want %q", got.Path, want)
	}
	if want := filepath.Join(dir, "data"); got.DataDir != want {
		t.Errorf("DataDir %q, want %q", got.DataDir, want)
	}
	_, err = Load("absent.yaml")
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "dirgate init") {
		t.Errorf("absent file: got %v, want one that matches ErrNotExist and names dirgate init", err)
	}
}

// TestExample checks that the example is the configuration it was made of, as
// it stands and with every commented default uncommented.
func TestExample(t *testing.T) {
	for name, cfg := range map[string]Config{"default": Default(), "custom": custom()} {
		example := string(Example(cfg))
		want := cfg
		want.Path = file
		got, err := Parse(file, []byte(example))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, example)
		}
		if *got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, *got, want)
		}
		for _, k := range keys {
			last := k.name[strings.LastIndexByte(k.name, '.')+1:]
			lines, same := 0, 0
			for _, other := range keys {
				if other.name == last || strings.HasSuffix(other.name, "."+last) {
					same++
				}
			}
			for line := range strings.Lines(example) {
				if strings.HasPrefix(strings.TrimLeft(line, " #"), last+": ") {
					lines++
				}
			}
			if lines != same {
				t.Errorf("%s: %d lines set %s, want %d", name, lines, last, same)
			}
		}
	}

	// A commented key has no space after the mark, a remark has one.
	var live []string
	for line := range strings.Lines(string(Example(Default()))) {
		if trimmed := strings.TrimLeft(line, " "); strings.HasPrefix(trimmed, "#") && !strings.HasPrefix(trimmed, "# ") && trimmed != "#\n" {
			line = strings.Replace(line, "#", "", 1)
		}
		live = append(live, line)
	}
	got := custom() // every default must come from the text
	if err := decode(&got, file, []byte(strings.Join(live, ""))); err != nil {
		t.Fatal(err)
	}
	if want := Default(); got != want {
		t.Errorf("defaults shown:\n got %+v\nwant %+v", got, want)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	def := Default()
	for _, k := range keys {
		var cfg Config
		if err := k.set(&cfg, k.get(&def)); err != nil {
			t.Errorf("%s: default %q %v", k.name, k.get(&def), err)
		}
		if got, want := k.get(&cfg), k.get(&def); got != want {
			t.Errorf("%s: set and get give %q, want %q", k.name, got, want)
		}
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "1B": 1, "1000B": 1000, "4 KiB": 4096, "1536KiB": 1536 << 10, "2GiB": 2 << 30} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("size %q: got %d, %v, want %d", text, got, err, want)
		}
		var again Size
		if err := again.UnmarshalText([]byte(want.String())); err != nil || again != want {
			t.Errorf("size %d writes as %q, which reads as %d, %v", want, want, again, err)
		}
	}
	for _, text := range []string{"", "1", "-1B", "1.5MiB", "MiB", "1kib", "0x1B", "8388608TiB", "8589934592GiB"} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q: got %d, want an error", text, got)
		}
	}
	for want, d := range map[string]time.Duration{"15m": 15 * time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute,
		"1h0m5s": time.Hour + 5*time.Second, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "0s": 0, "100ms": 100 * time.Millisecond} {
		if got := Duration(d).String(); got != want {
			t.Errorf("duration %v: got %q, want %q", d, got, want)
		}
	}
}

// FuzzParse checks that no text makes the decoder panic, and that whatever it
// accepts survives being written out and read again.
func FuzzParse(f *testing.F) {
	f.Add(string(Example(Default())))
	f.Add(string(Example(custom())))
	f.Add("data_dir: \"\\x41\\u00e9 #:\"\nadmin:\n  socket: 'it''s'\n")
	f.Add("tls: {min_version: 1.3}\ngateway: [1]\n---\n&a *a <<: !!x ? - |\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := Parse(file, []byte(text))
		if err != nil {
			return
		}
		again, err := Parse(file, Example(*cfg))
		if err != nil {
			t.Fatalf("example of %q: %v\n%s", text, err, Example(*cfg))
		}
		if *again != *cfg {
			t.Fatalf("example of %q:\n got %+v\nwant %+v", text, *again, *cfg)
		}
	})
}
