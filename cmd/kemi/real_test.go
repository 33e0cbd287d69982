package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/internal/await"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/simulate"
)

// TestMain lets the test binary be kemi itself: tests of the real process run it again with this variable set.
func TestMain(m *testing.M) {
	if os.Getenv("KEMI_TEST_AS_KEMI") != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"kemi": main})
}

// kemi runs the real command to its end.
func kemi(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t.Context(), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "KEMI_TEST_AS_KEMI=1")
	return cmd
}

// process is a running kemi.
type process struct {
	t      testing.TB
	config string
	addr   string
	args   []string // Beyond the configuration.
	env    []string
	cmd    *exec.Cmd
	log    journal.Journal
}

// start runs `kemi run` and waits until it serves. The address must be in the configuration.
func start(t testing.TB, config, addr string) *process {
	t.Helper()
	p := &process{t: t, config: config, addr: addr}
	p.start()
	p.endsWithTest()
	return p
}

// endsWithTest kills the process at the end; when the test failed it tells what it knows first.
func (p *process) endsWithTest() {
	t := p.t
	t.Cleanup(func() {
		if p.cmd != nil {
			if t.Failed() {
				p.confess()
			}
			p.kill()
		}
		if t.Failed() {
			t.Logf("what kemi said:\n%s", lastLines(p.log.String(), 60))
		}
	})
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = command(context.Background(), append([]string{"run", "-c", p.config}, p.args...)...)
	p.cmd.Env = append(p.cmd.Env, p.env...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	within(p.t, 30*time.Second, "kemi serves", func() error {
		resp, err := http.Get("http://" + p.addr + "/-/healthy")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// confess logs what the process believes.
func (p *process) confess() {
	for _, path := range []string{"targets?state=down", "alerts?state=firing", "incidents?state=open", "incidents?state=verifying", "pages"} {
		var all []json.RawMessage
		if err := p.get(api.Prefix+"/"+path, &all); err != nil {
			p.t.Logf("%s: %v", path, err)
			continue
		}
		p.t.Logf("%s: %d", path, len(all))
		for _, one := range all[:min(3, len(all))] {
			one = one[:min(400, len(one))]
			p.t.Logf("  %s", one)
		}
	}
}

// kill ends the process as a power switch would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // It may be gone already.
	_ = p.cmd.Wait()
	p.cmd = nil
}

// stopsWithin is far more than stopping takes, about a second: a part that hangs is given up after 10 s, and is an error.
const stopsWithin = 9 * time.Second

// stop ends the process as a person would, and returns how long that took.
func (p *process) stop() time.Duration {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("kemi ended with %v:\n%s", err, lastLines(p.log.String(), 20))
	}
	p.cmd = nil
	return time.Since(began)
}

// get reads JSON from the API.
func (p *process) get(path string, into any) error {
	resp, err := http.Get("http://" + p.addr + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// query asks the Prometheus API and returns the values by the given label.
func (p *process) query(expr, label string) (map[string]float64, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]json.RawMessage
			}
		}
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for _, r := range answer.Data.Result {
		var text string
		var v float64
		if err := json.Unmarshal(r.Value[1], &text); err != nil {
			return nil, err
		}
		if _, err := fmt.Sscan(text, &v); err != nil {
			return nil, err
		}
		all[r.Metric[label]] = v
	}
	return all, nil
}

// everything reads what is stored on a topic, through the running process. One that has just lost its broker says so: it is
// asked again.
func (p *process) everything(topic string) (all []api.Line) {
	p.t.Helper()
	within(p.t, time.Minute, "all of "+topic+" is read", func() (err error) {
		all, err = p.stored(topic)
		return err
	})
	return all
}

// stored reads a topic from its beginning to its end; half of it is an error.
func (p *process) stored(topic string) (all []api.Line, err error) {
	resp, err := http.Get("http://" + p.addr + api.Prefix + "/topics/" + topic + "/events?from=6h")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	for dec := json.NewDecoder(resp.Body); ; {
		var l api.Line
		switch err := dec.Decode(&l); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("after %d records: %w", len(all), err)
		}
		all = append(all, l)
	}
}

// within tries until it works or the time is over.
func within(t testing.TB, d time.Duration, what string, try func() error) {
	t.Helper()
	await.Within(t, d, what, func(context.Context) error { return try() })
}

// freeAddr returns a loopback address nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// files writes a directory of files.
func files(t testing.TB, content map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// delivery is one call of the webhook.
type delivery struct {
	Status   string
	Title    string
	Cause    string
	Dedup    string
	Key      string // Idempotency-Key
	Incident string
	At       time.Time
}

// receiver is a webhook that records.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	all []delivery
	// answer decides what is answered, 200 when nil.
	answer func() int
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body struct {
			Status            string
			CommonAnnotations map[string]string
			Kemi              struct {
				Incident string
				Cause    string
				Title    string
				DedupKey string `json:"dedup_key"`
			}
		}
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
			t.Errorf("the webhook got no JSON: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.answer != nil {
			if code := r.answer(); code/100 != 2 {
				w.WriteHeader(code)
				return
			}
		}
		r.all = append(r.all, delivery{
			Status: body.Status, Title: body.Kemi.Title, Cause: body.Kemi.Cause, Dedup: body.Kemi.DedupKey, Incident: body.Kemi.Incident,
			Key: req.Header.Get("Idempotency-Key"), At: time.Now(),
		})
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) list() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery{}, r.all...)
}

// playFleet runs simulated devices until the test ends.
func playFleet(t testing.TB, cfg simulate.Config) *simulate.Fleet {
	t.Helper()
	f, err := simulate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	select {
	case <-f.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// targetsYAML lists devices as a target file, with checks every interval.
func targetsYAML(devices []simulate.Device, every time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "classes:\n")
	for _, c := range simulate.Classes() {
		check := fmt.Sprintf("{kind: snmp, every: %s, profile: interfaces, credential: lab}", every)
		if !c.SNMP() {
			check = fmt.Sprintf("{kind: http, every: %s, path: /health}", every)
		}
		fmt.Fprintf(&b, "  %s: {checks: [%s]}\n", c, check)
	}
	fmt.Fprintf(&b, "targets:\n")
	for _, d := range devices {
		address := d.Addr.String()
		if !d.Class.SNMP() {
			address = "http://" + address
		}
		fmt.Fprintf(&b, "  - {id: %s, class: %s, address: %q, team: network", d.ID, d.Class, address)
		if len(d.Needs) > 0 {
			fmt.Fprintf(&b, ", relations: {%s: [%s]}", d.Relation, strings.Join(d.Needs, ", "))
		}
		fmt.Fprintf(&b, "}\n")
	}
	return b.String()
}
