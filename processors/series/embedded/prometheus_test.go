package embedded_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// need finds a program of Debian's package prometheus, or skips; where everything must be there, it fails.
func need(t *testing.T, program string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s is for make integration", program)
	}
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("KEMI_CI") == "1" {
		t.Fatalf("%s is missing: install the Debian package prometheus", program)
	}
	t.Skipf("%s is missing (Debian package prometheus)", program)
	return ""
}

func TestIntegrationPromtoolReadsTheAnswers(t *testing.T) {
	promtool := need(t, "promtool")
	server := httptest.NewServer(stored(t).Handler())
	defer server.Close()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"instant", "--time", stamp(10 * sec), server.URL, `octets{ifIndex="2"}`}, []string{`octets{class="switch", ifIndex="2", target="tor-1"} => 40 @[` + stamp(10*sec) + `]`}},
		{[]string{"range", "--start", stamp(0), "--end", stamp(10 * sec), "--step", "10s", server.URL, `sum(octets)`}, []string{"30 @[" + stamp(0) + "]", "70 @[" + stamp(10*sec) + "]"}},
		{[]string{"series", "--match", "up", "--start", stamp(0), "--end", stamp(60 * sec), server.URL}, []string{`__name__="up"`, `check="snmp"`}},
		{[]string{"labels", server.URL, "ifIndex"}, []string{"1", "2"}},
	} {
		out, err := exec.CommandContext(t.Context(), promtool, append([]string{"query"}, c.args...)...).CombinedOutput()
		for _, want := range c.want {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("promtool query %v: %v\n%s\nwant %s", c.args, err, out, want)
			}
		}
	}
}

// A real Prometheus on a copy of the store answers the same, byte for byte of the data.
func TestIntegrationAPrometheusOnTheSameStoreAnswersTheSame(t *testing.T) {
	prometheus := need(t, "prometheus")
	dir := t.TempDir()
	s := open(t, dir)
	s.write(reading(0, 10, 20), down(10*sec), reading(20*sec, 30, 40), booted(reading(30*sec, 5, 90), 25*sec), reading(40*sec, 7, 99))
	there := copyOf(t, dir)
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	cmd := exec.CommandContext(t.Context(), prometheus, "--config.file="+config, "--storage.tsdb.path="+there,
		"--storage.tsdb.retention.time=50y", "--web.listen-address="+address, "--log.level=warn")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ready(t, "http://"+address+"/-/ready", &said)

	h := s.Handler()
	for _, path := range []string{
		"query?query=octets&time=" + stamp(20*sec),
		"query?query=octets&time=" + stamp(12*sec),
		"query?query=up&time=" + stamp(12*sec) + ".123",
		"query?query=" + url.QueryEscape(`resets(octets[1m]) + delta(octets[1m])`) + "&time=" + stamp(41*sec),
		"query?query=" + url.QueryEscape(`octets[5m]`) + "&time=" + stamp(41*sec),
		"query?query=" + url.QueryEscape(`sum by (ifIndex) (octets) / 0`) + "&time=" + stamp(20*sec),
		"query?query=1&time=" + stamp(0),
		"query?query=" + url.QueryEscape(`"text <&>"`) + "&time=" + stamp(0),
		"query_range?query=" + url.QueryEscape(`octets or up * 1e-9`) + "&step=5&start=" + stamp(0) + "&end=" + stamp(41*sec),
		"series?match[]=up&match[]=octets", "labels", "labels?match[]=up", "label/ifIndex/values", "label/nope/values",
		"metadata", "rules", "alerts", "targets/metadata", "alertmanagers", "query_exemplars?query=up&start=0&end=1",
		"query?query=sum(", "query_range?query=up&step=0&start=1&end=2", "series", "query?query=up&time=never",
	} {
		status, ours := call(t, h, http.MethodGet, "/api/v1/"+path, nil)
		res, err := http.Get("http://" + address + "/api/v1/" + path)
		if err != nil {
			t.Fatal(err)
		}
		var theirs map[string]any
		err = json.NewDecoder(res.Body).Decode(&theirs)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		delete(ours, "error") // The words of an error are everybody's own.
		delete(theirs, "error")
		delete(ours, "infos") // Debian's Prometheus is older than infos.
		if diff := cmp.Diff(theirs, ours); diff != "" || status != res.StatusCode {
			t.Errorf("%s: status %d, Prometheus says %d; %s", path, status, res.StatusCode, diff)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ready waits until a URL answers 200.
func ready(t *testing.T, url string, said fmt.Stringer) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if res, err := http.Get(url); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s is not ready after 20 s: %s", url, said)
		}
	}
}
