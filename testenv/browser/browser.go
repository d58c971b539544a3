package browser

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds each call and each wait.
const patience = 60 * time.Second

// Need gives the program of a Chromium. Where there is none the test is skipped,
// or fails if DIRGATE_REQUIRE_CHROMIUM is 1.
func Need(tb testing.TB) (path string) {
	tb.Helper()
	path, why := find()
	if path == "" && os.Getenv("DIRGATE_REQUIRE_CHROMIUM") == "1" {
		tb.Fatalf("no Chromium, which DIRGATE_REQUIRE_CHROMIUM asks for: %s", why)
	}
	if path == "" {
		tb.Skipf("SKIPPED: needs a real browser: %s", why)
	}
	return path
}

func find() (path, why string) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, ""
		}
	}
	return "", "no Chromium is installed: run `apt-get install chromium` as root"
}

// Browser is a running Chromium with a profile of its own.
type Browser struct {
	tb      testing.TB
	cmd     *exec.Cmd
	out     *os.File
	profile string

	mu      sync.Mutex
	last    int                      // guarded by mu
	waiting map[int]chan reply       // guarded by mu
	loaded  map[string]chan struct{} // by session; guarded by mu
	done    chan struct{}            // closed when nothing more comes
}

type reply struct {
	ID        int             `json:"id"`
	Method    string          `json:"method"`
	SessionID string          `json:"sessionId"`
	Result    json.RawMessage `json:"result"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Start runs a Chromium for the length of a test. Servers with one of the given
// certificates are trusted, and no others: they are recognised by their keys.
// See [Need] for where there is no Chromium.
func Start(tb testing.TB, trusted ...*x509.Certificate) *Browser {
	tb.Helper()
	program := Need(tb)
	var keys []string
	for _, c := range trusted {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		keys = append(keys, base64.StdEncoding.EncodeToString(sum[:]))
	}
	profile, err := os.MkdirTemp("", "dirgate-browser-")
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(program, "--headless=new", "--remote-debugging-pipe", "--user-data-dir="+profile, "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check",
		"--hide-scrollbars", "--force-color-profile=srgb", "--ignore-certificate-errors-spki-list="+strings.Join(keys, ","))
	if os.Geteuid() == 0 {
		cmd.Args = append(cmd.Args, "--no-sandbox") // Chromium's does not work for root
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Some distributions' wrappers write below the home folder.
	cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile)
	ours, theirs, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{ours, write} // descriptors 3 and 4 of the browser
	if err := cmd.Start(); err != nil {
		tb.Fatal("start the browser:", err)
	}
	_, _ = ours.Close(), write.Close()
	b := &Browser{tb: tb, cmd: cmd, out: theirs, profile: profile, waiting: make(map[int]chan reply), loaded: make(map[string]chan struct{}), done: make(chan struct{})}
	go b.listen(read)
	tb.Cleanup(b.close)
	return b
}

// close ends the browser, and the helpers in its process group, which may outlive
// it and go on writing to the profile.
func (b *Browser) close() {
	_, _ = b.call("", "Browser.close", nil)
	_ = b.out.Close()
	group := -b.cmd.Process.Pid
	timer := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer timer.Stop()
	_ = b.cmd.Wait()
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-b.done
	// Other processes: nothing tells when the last of them has ended.
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := os.RemoveAll(b.profile)
		if err == nil {
			return
		}
		if time.Now().After(until) {
			b.tb.Error("remove the browser's profile:", err)
			return
		}
	}
}

// listen hands the answers to those who wait, until the browser ends.
func (b *Browser) listen(from *os.File) {
	defer close(b.done)
	defer from.Close()
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var r reply
		if json.Unmarshal(text[:len(text)-1], &r) != nil {
			continue // not for us
		}
		b.mu.Lock()
		switch {
		case r.ID != 0:
			if c := b.waiting[r.ID]; c != nil {
				delete(b.waiting, r.ID)
				c <- r
			}
		case r.Method == "Page.loadEventFired":
			if c := b.loaded[r.SessionID]; c != nil {
				select {
				case c <- struct{}{}:
				default:
				}
			}
		}
		b.mu.Unlock()
	}
}

// call makes one call of the protocol.
func (b *Browser) call(session, method string, params any) (json.RawMessage, error) {
	b.mu.Lock()
	b.last++
	id, answer := b.last, make(chan reply, 1)
	b.waiting[id] = answer
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.out.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-answer:
		if r.Error != nil {
			return nil, fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		return r.Result, nil
	case <-b.done:
		return nil, fmt.Errorf("%s: the browser has ended", method)
	case <-timer.C:
		return nil, errors.New(method + ": the browser does not answer")
	}
}
