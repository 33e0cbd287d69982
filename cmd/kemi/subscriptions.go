package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/subscription"
	"kemi.dev/kemi/cmd/kemi/app"
)

func newSubscriptions() *cobra.Command {
	parent := &cobra.Command{
		Use: "subscriptions", Short: "Try the webhooks of teams out", Args: noSubcommand, RunE: help,
		Long: `Teams are told events by webhooks: subscriptions in the configuration. How far each is: kemi topics TOPIC, the group
subscription-NAME. What could not be delivered: kemi dead list --group subscription-NAME, and kemi dead retry. What was delivered
is delivered again by kemi replay TOPIC --from … --webhook NAME.`,
	}
	parent.AddCommand(newSubscriptionsTest())
	return parent
}

func newSubscriptionsTest() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "test NAME", Short: "Deliver one signed event for real, marked as a test", Args: cobra.ExactArgs(1),
		Long: `Posts one event of the type ` + subscription.TestWord + ` to a subscription of the configuration, once, signed as all are, from this
process, and prints what the endpoint answered. It is on no topic; no Kemi has to run.

Exit code 0 when the endpoint took it, 1 when it did not or the configuration has a mistake.`,
		Example: "  kemi subscriptions test billing-audit\n  kemi subscriptions test billing-audit -c kemi.yaml -o json",
	}
	load := configFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, problems := load()
		var room *subscription.Room
		if cfg != nil && len(problems) == 0 {
			room, problems = app.Subscriptions(cfg, logger(cmd.ErrOrStderr(), cfg.Log))
		}
		if len(problems) > 0 {
			return sayProblems(cmd.ErrOrStderr(), problems)
		}
		host, _ := os.Hostname() // Without it the event says less.
		if host != "" {
			host = " from Kemi on " + host
		}
		begun := time.Now()
		answer, err := room.Test(cmd.Context(), args[0], "Sent by kemi subscriptions test"+host+". Nothing happened and nothing is to be done.", begun)
		t := tried{Receiver: args[0], Took: time.Since(begun).Seconds(), Answer: answer}
		if err != nil {
			t.Error, t.Permanent = err.Error(), notify.IsPermanent(err)
		}
		return t.say(cmd.OutOrStdout(), output)
	}
	return cmd
}
