package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/api"
)

func newTail() *cobra.Command {
	var c client
	var output, from, key string
	var limit int
	cmd := &cobra.Command{
		Use: "tail TOPIC", Short: "Follow a topic, one event a line", Args: cobra.ExactArgs(1), ValidArgsFunction: completeTopics(&c),
		Long: `Follows a topic of a running Kemi: targets.v1, jobs.v1.default, readings.v1, findings.v1, alerts.v1, incidents.v1,
pages.v1, commands.v1, silences.v1, overrides.v1, dead.v1; kemi topics lists them. It disturbs no consumer. Ctrl-C ends it.

Without --from it begins with what comes. --from beginning is the oldest event there is, --from newest the newest of each
key of a topic that keeps it (targets, alerts, incidents, pages).
` + whenHelp,
		Example: `  kemi tail alerts.v1
  kemi tail readings.v1 --from 5m --key core-1
  kemi tail incidents.v1 --from newest
  kemi tail findings.v1 --from 10:00 --limit 20
  kemi tail readings.v1 --from 5m -o json | jq .event.status`,
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&from, "from", "", "begin there: 5m (ago), 10:00, beginning, newest, or PARTITION/POSITION")
	cmd.Flags().StringVar(&key, "key", "", "only events of this key: a target, an alert, …")
	cmd.Flags().Var((*count)(&limit), "limit", "end after so many events")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := queryOf("from", when(from, time.Now()), "key", key, "limit", limitText(limit))
		n, err := c.lines(cmd, "/topics/"+url.PathEscape(args[0])+"/tail", q, func(line json.RawMessage) error {
			return printLine(cmd.OutOrStdout(), output, line)
		})
		if err == nil && cmd.Context().Err() == nil && (limit == 0 || n < limit) {
			return fmt.Errorf("the connection to %s ended: is kemi still running?", c.server)
		}
		return err
	}
	return cmd
}

// lines hands over the JSON lines of an answer as they come, and says how many there were. A connection that ends because
// ctx did is no error.
func (c *client) lines(cmd *cobra.Command, path string, q url.Values, handle func(json.RawMessage) error) (n int, err error) {
	resp, err := c.do(cmd.Context(), "GET", path, q, nil)
	if err != nil {
		if cmd.Context().Err() != nil {
			return 0, nil
		}
		return 0, err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; n++ {
		var line json.RawMessage
		switch err := dec.Decode(&line); {
		case errors.Is(err, io.EOF) || err != nil && cmd.Context().Err() != nil:
			return n, nil
		case err != nil:
			return n, fmt.Errorf("the connection to %s ended after %d events: %w", c.server, n, err)
		}
		if err := handle(line); err != nil {
			return n, err
		}
	}
}

// printLine writes one event: as it came, or for people with when, key and gist.
func printLine(w io.Writer, output string, data json.RawMessage) error {
	if output == "json" {
		_, err := fmt.Fprintf(w, "%s\n", plainJSON(data))
		return err
	}
	var l api.Line
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	at := l.Stored.Local()
	form := "15:04:05.000"
	if time.Since(at) > 20*time.Hour {
		form = "2006-01-02 15:04:05"
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s\n", at.Format(form), plain(l.Key), plain(gist(&l)))
	return err
}
