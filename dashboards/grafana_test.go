package dashboards_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// needIntegration skips a test that needs more than Go, unless it is asked for.
func needIntegration(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("integration tests are not short")
	}
	if os.Getenv("KEMI_INTEGRATION") == "" && os.Getenv("KEMI_CI") == "" {
		t.Skip("integration tests run with KEMI_INTEGRATION=1 (make integration)")
	}
}

// missing skips the test by the name of what is not there; in CI everything is.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("KEMI_CI") == "1" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// unpackGrafana finds Grafana in the folder of shared servers and unpacks it.
func unpackGrafana(t *testing.T) string {
	t.Helper()
	shared := os.Getenv("KEMI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "shared")
	}
	archive := filepath.Join(shared, "servers", "grafana-9.4.tar.xz")
	if _, err := os.Stat(archive); err != nil {
		missing(t, "servers/grafana-9.4.tar.xz of ../shared (or $KEMI_SHARED)")
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("unpack grafana: %v: %s", err, out)
	}
	return filepath.Join(dir, "grafana")
}

// startGrafana runs a Grafana of its own, with a provisioning folder, until the test ends, and returns its address.
func startGrafana(t *testing.T, home, provisioning string, settings ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	data := t.TempDir()
	for _, dir := range []string{
		filepath.Join(data, "plugins"), filepath.Join(provisioning, "plugins"), filepath.Join(provisioning, "notifiers"),
		filepath.Join(provisioning, "alerting"), filepath.Join(provisioning, "dashboards"), filepath.Join(provisioning, "datasources"),
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{
		"server", "--homepath", home, "--config", filepath.Join(home, "conf", "test.ini"),
		"cfg:paths.data=" + data, "cfg:paths.logs=" + data, "cfg:paths.plugins=" + filepath.Join(data, "plugins"),
		"cfg:paths.provisioning=" + provisioning, "cfg:server.http_port=" + strconv.Itoa(port),
	}, settings...)
	cmd := exec.Command(filepath.Join(home, "bin", "grafana"), args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("grafana said:\n%s", tail(log.Bytes(), 4000))
		}
	})
	address := "http://127.0.0.1:" + strconv.Itoa(port)
	ready := func() bool {
		resp, err := http.Get(address + "/api/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	eventually(t, "Grafana answers", func() bool {
		select {
		case <-ended:
			t.Fatal("grafana ended by itself")
		default:
		}
		return ready()
	})
	return address
}

// eventually asks again until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline, tick := time.After(2*time.Minute), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not after two minutes", what)
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// browse opens a page in headless Chromium and returns its DOM once it is drawn. With KEMI_SCREENSHOTS set to a folder
// it leaves a picture of the page there, too.
func browse(t *testing.T, address, name string, height int) string {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium (apt-get install --no-install-recommends chromium fonts-dejavu-core)")
	}
	run := func(what string) []byte {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
			fmt.Sprintf("--window-size=1500,%d", height), "--virtual-time-budget=30000", "--user-data-dir="+t.TempDir(), what, address)
		var out, log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return errors.Join(syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)) }
		if err := cmd.Run(); err != nil {
			t.Fatalf("open %s: %v: %s", address, err, tail(log.Bytes(), 2000))
		}
		return out.Bytes()
	}
	if dir := os.Getenv("KEMI_SCREENSHOTS"); dir != "" {
		run("--screenshot=" + filepath.Join(dir, name+".png"))
	}
	return string(run("--dump-dom"))
}
