package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

func newMaintenance() *cobra.Command {
	parent := &cobra.Command{Use: "maintenance", Short: "Say what is being worked on, so that it pages nobody", Args: noSubcommand, RunE: help}
	end := newHoldEnd("maintenance", "end NAME|ID…", event.MaintenanceWindow)
	end.Example = "  kemi maintenance end deploy-shop"
	parent.AddCommand(newMaintenanceStart(), end, newHoldList("maintenance", event.MaintenanceWindow), newHoldShow("maintenance", event.MaintenanceWindow))
	return parent
}

func newMaintenanceStart() *cobra.Command {
	var c client
	var n api.NewSilence
	var e ends
	var output string
	var selectors []string
	cmd := &cobra.Command{
		Use: "start --name NAME MATCHER…", Short: "Begin a maintenance window, which ends by itself",
		Long: `Begins a maintenance window, or one that is to come or comes again and again. Nobody is told of what it matches, nor of what
needs that (a server behind the switch that is worked on) unless --inherit=false. A window of the same name is replaced: a
script may say it again to have it last longer. It ends by itself, so that a script that dies leaves nothing behind; kemi
maintenance end has it end earlier. What still fires then speaks up.

` + matcherHelp + "\n" + aheadHelp,
		Example: `  kemi maintenance start --name deploy-shop team=shop --for 30m      # in a deploy script; end it with:
  kemi maintenance end deploy-shop
  kemi maintenance start --name rack-7 --selector '{site="seoul",rack="7"}' --from 22:00 --for 2h --comment 'new power supplies'
  kemi maintenance start --name backup alertname=HighLoad --recurs 'FREQ=WEEKLY;BYDAY=SU' --from 02:00 --lasts 2h --timezone Asia/Seoul`,
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&n.Name, "name", "", "its name, needed: one of the same name is replaced")
	cmd.Flags().StringArrayVar(&selectors, "selector", nil, "more matchers: class=switch, or {class=\"switch\",site=\"seoul\"}")
	e.flags(cmd)
	cmd.Flags().StringVar(&n.Recurs, "recurs", "", "when it comes again, as a rule of RFC 5545: FREQ=WEEKLY;BYDAY=SU")
	cmd.Flags().StringVar(&n.Lasts, "lasts", "", "how long it is in force each time, when it recurs: 2h")
	cmd.Flags().StringVar(&n.Timezone, "timezone", "", "the zone in which it recurs, such as Asia/Seoul; UTC unless told")
	cmd.Flags().BoolVar(&n.Inherit, "inherit", true, "it holds for what needs a matching target, too")
	cmd.Flags().StringVar(&n.Comment, "comment", "", "why; without it, its name")
	byFlag(cmd, &n.By)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := e.into(&n, time.Now()); err != nil {
			return err
		}
		switch {
		case n.Name == "":
			return usageError{errors.New("give it a name, with --name: that is how it is ended, or replaced")}
		case n.Recurs == "" && e.lasts == "" && e.until == "":
			return usageError{errors.New("say how long at most: --for 30m, or --until 06:00")}
		case n.Recurs != "" && n.Lasts == "":
			return usageError{errors.New("say how long it lasts each time: --lasts 2h")}
		case len(args)+len(selectors) == 0:
			return usageError{errors.New("say what is worked on: target=core-1, or --selector class=switch")}
		}
		if n.Comment == "" {
			n.Comment = n.Name
		}
		n.Kind, n.By = event.MaintenanceWindow, byOr(n.By)
		n.Match = append(matchersOf(args), selectors...)
		return addHold(cmd, &c, &n, output)
	}
	return cmd
}
