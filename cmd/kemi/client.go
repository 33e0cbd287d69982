package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/api"
)

// client talks to a running Kemi.
type client struct {
	server, tokenFile string
	// patient waits for an answer as long as it takes: for work whose length nobody knows.
	patient bool
}

// flags adds the flags that say where Kemi is.
func (c *client) flags(cmd *cobra.Command) {
	server := os.Getenv("KEMI_SERVER")
	if server == "" {
		server = "http://127.0.0.1:7070"
	}
	cmd.Flags().StringVar(&c.server, "server", server, "where Kemi listens ($KEMI_SERVER)")
	cmd.Flags().StringVar(&c.tokenFile, "token-file", os.Getenv("KEMI_TOKEN_FILE"), "file with the bearer token ($KEMI_TOKEN_FILE)")
}

// do calls the API; the body is the caller's to close. Anything but 2xx is an error with the server's own words.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u, err := url.Parse(c.server)
	if err != nil || u.Host == "" {
		return nil, usageError{fmt.Errorf("--server %q is no URL: write http://127.0.0.1:7070", c.server)}
	}
	u = u.JoinPath(api.Prefix, path) // path is escaped where it has to be.
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if c.tokenFile != "" {
		token, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	transport := &http.Transport{ResponseHeaderTimeout: 30 * time.Second}
	if c.patient {
		transport.ResponseHeaderTimeout = 0
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("nobody answers at %s: is kemi running? start it with kemi run, or say --server", c.server)
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusUnauthorized:
		resp.Body.Close()
		return nil, errors.New("a token is needed: give --token-file")
	case resp.StatusCode/100 != 2:
		defer resp.Body.Close()
		return nil, serverError(resp)
	}
	return resp, nil
}

// serverError reads what the server said went wrong.
func serverError(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // What did arrive is shown.
	var said struct{ Error string }
	if json.Unmarshal(data, &said) == nil && said.Error != "" {
		return errors.New(said.Error)
	}
	return fmt.Errorf("%s: %s", resp.Status, plain(string(data)))
}

// get reads JSON into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	return nil
}
