package suite

import "testing"

// one is a test, and what it is called.
type one struct {
	name string
	test func(*space)
}

// together runs tests at the same time.
func together(t *testing.T, tests ...one) {
	for _, o := range tests {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.test(newSpace(t))
		})
	}
}

// inTurn runs tests one after the other.
func inTurn(t *testing.T, tests ...one) {
	for _, o := range tests {
		t.Run(o.name, func(t *testing.T) { o.test(newSpace(t)) })
	}
}

// The tests of this file run in its order.

func TestInstall(t *testing.T) {
	inTurn(t,
		one{"the chart is installed", chartIsInstalled},
		one{"node pods have no access to the API", nodePodsHaveNoAccess},
		one{"the plain manifest is taken", manifestIsTaken},
	)
}

// TestStartTimes measures, so nothing runs beside it.
func TestStartTimes(t *testing.T) { inTurn(t, one{"without attach", startTimes}) }

func TestVolumes(t *testing.T) {
	together(t,
		one{"the kubelet knows how full a volume is", kubeletKnowsUsage}, // the longest first
		one{"a claim waits for its pod", claimWaitsForItsPod},
		one{"a claim binds at once", claimBindsAtOnce},
		one{"a claim matches an existing volume", claimMatchesAnExistingVolume},
		one{"a deleted volume is gone", deletedVolumeIsGone},
		one{"a retained volume stays", retainedVolumeStays},
		one{"a pod comes back to its data", podComesBackToItsData},
		one{"two pods of a node share a volume", twoPodsShare},
		one{"ten pods of a volume leave at once", tenPodsLeaveAtOnce},
		one{"ReadWriteOncePod is for one pod", onePodOnly},
		one{"a StatefulSet uses both nodes", statefulSetUsesBothNodes},
		one{"a raw block volume", rawBlock},
		one{"a generic ephemeral volume", genericEphemeral},
		one{"an inline ephemeral volume", inlineEphemeral},
		one{"fsGroup", fsGroup},
		one{"mount options", mountOptions},
		one{"expand a running xfs", expandXFS},
		one{"expand a running ext4", expandExt4},
		one{"expand a running block volume", expandBlock},
		one{"expand an unused xfs", expandUnusedXFS},
		one{"expand an unused ext4", expandUnusedExt4},
		one{"snapshot and restore", snapshotAndRestore},
		one{"a snapshot outlives its volume", restoreOfWhatIsGone},
		one{"clone a running volume", cloneOfRunning},
		one{"clone a block volume", cloneOfBlock},
		one{"a block volume is not mounted without a word", blockAsFileSystem},
		one{"a group snapshot", groupSnapshot},
		one{"no group snapshot over nodes", groupOverNodes},
		one{"no attachment by default", noAttachments},
		one{"refusals say why", refusalsSayWhy},
		one{"strangers are refused", strangersAreRefused},
		one{"examples", examples},
	)
}

// TestPlacement fills and taints nodes, so its tests run in turn.
func TestPlacement(t *testing.T) {
	inTurn(t,
		one{"capacity steers the scheduler", capacitySteersScheduler},
		one{"taints and tolerations", taintsAreRespected},
	)
}

func TestFaults(t *testing.T) {
	inTurn(t,
		one{"a node's pod restarts under a pod that writes", nodePodRestarts},
		one{"the controller dies in the middle of 50 creates", controllerDiesInTheMiddle},
		one{"a kubelet restarts under a pod that writes", kubeletRestarts},
		one{"an upgrade of the chart disturbs nobody", upgradeDisturbsNobody},
		one{"a node is cut off and comes back", nodeIsCutOff},
		one{"a node loses power and comes back", nodeLosesPower},
		one{"a node is deleted and comes back", nodeIsDeleted},
		one{"a pool that is missing is not made anew", missingPoolIsNotMadeAnew},
		one{"a dead pool stops no other", deadPoolStopsNoOther},
	)
}

// TestAttach installs loam once more, with attach.enabled.
func TestAttach(t *testing.T) {
	inTurn(t,
		one{"the chart is installed with attach", installWithAttach},
		one{"start times with attach", startTimesWithAttach},
	)
	t.Run("volumes", func(t *testing.T) { // ends when all of them have
		together(t,
			one{"an attachment comes and goes", attachmentComesAndGoes},
			one{"a claim binds at once", claimBindsAtOnce},
			one{"a pod comes back to its data", podComesBackToItsData},
			one{"a StatefulSet uses both nodes", statefulSetUsesBothNodes},
			one{"ReadWriteOncePod is for one pod", onePodOnly},
			one{"a raw block volume", rawBlock},
			one{"an inline ephemeral volume", inlineEphemeral},
			one{"expand a running xfs", expandXFS},
			one{"clone a running volume", cloneOfRunning},
		)
	})
	inTurn(t, one{"the chart is installed without attach", installWithoutAttach})
}

func TestAfterwards(t *testing.T) {
	inTurn(t,
		one{"memory of an idle node", idleMemory},
		one{"nodes asked the API nothing", nodesAskedNothing},
		one{"no secret is in a log", noSecretInLogs},
		one{"nothing is left", nothingIsLeft},
	)
}
