//go:build kubernetes

package kubernetes_test

import "testing"

// TestLoam is all of it, in this order: what works beside each other does so, then what shakes the cluster, and in the
// end nothing is left.
func TestLoam(t *testing.T) {
	t.Run("volumes", func(t *testing.T) {
		together(t, map[string]func(*world){
			"claim waits for its pod and then binds":                  claimWaitsForItsPod,
			"claim binds at once":                                     claimBindsAtOnce,
			"claim takes a volume made beforehand":                    claimTakesVolumeMadeBeforehand,
			"pod comes back on the same node with its data":           podComesBack,
			"statefulset spreads over both nodes":                     statefulSetSpreads,
			"raw block device":                                        rawBlock,
			"ephemeral volumes of both kinds":                         ephemeral,
			"xfs grows while it is written":                           xfsGrows,
			"ext4 grows while it is written":                          ext4Grows,
			"snapshot is restored to a larger volume":                 snapshotIsRestored,
			"clone has what the volume had":                           clone,
			"group snapshot is of one instant":                        groupSnapshot,
			"reclaim policy retain keeps the data":                    retainKeeps,
			"metrics of the volume reach the kubelet":                 metricsReachTheKubelet,
			"readwriteoncepod is refused twice":                       oncePodIsRefusedTwice,
			"tainted node keeps its volumes":                          taintedNodeKeepsItsVolumes,
			"fsgroup owns the files":                                  fsGroupOwnsTheFiles,
			"mount options of the class":                              mountOptions,
			"volume larger than any node is refused with the reason":  tooLarge,
			"unknown parameter is refused by name":                    unknownParameter,
			"node pods have no token for the api and ask it nothing":  nodesAskNothing,
			"a stranger gets nothing from the port of the controller": strangers,
		})
	})
	t.Run("capacity steers the scheduler away from a full node", alone(capacitySteers))
	t.Run("examples of the documentation run", alone(examples))
	t.Run("how long it takes", alone(howLong))
	t.Run("faults", func(t *testing.T) {
		t.Run("node pod restarted under a writer", alone(nodePodRestarted))
		t.Run("controller killed in the middle of fifty creates", alone(controllerKilled))
		t.Run("kubelet restarted under a writer", alone(kubeletRestarted))
		t.Run("node cut off the network and back", alone(nodeCutOff))
		t.Run("chart upgraded under a writer", alone(chartUpgraded))
		t.Run("power of a node lost", alone(powerLost))
		t.Run("node deleted and back", alone(nodeDeleted))
	})
	t.Run("attach", func(t *testing.T) {
		t.Run("volumeattachment comes and goes", alone(attachment))
		t.Run("how long it takes with attach", alone(howLongAttached))
	})
	t.Run("nothing is left", alone(nothingLeft))
}

func together(t *testing.T, tests map[string]func(*world)) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newWorld(t))
		})
	}
}

func alone(test func(*world)) func(*testing.T) {
	return func(t *testing.T) { test(newWorld(t)) }
}
