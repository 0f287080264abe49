/*
 * Leadership, checked exhaustively: lock, term, fence, and the compare-and-set on a job's row.
 *
 *   replica     stand ──lock──▶ promote() ──term──▶ recover ▸ open the gate ──▶ let go, noticed late or never
 *   connection  arrive ▸ BEGIN, fence_term() ▸ read and decide ▸ write if unchanged ▸ COMMIT
 *   client      cancels through the other door, which is not fenced
 *   postgres    ends the lock session at any moment, for whatever reason
 *
 * A freeze needs no step of its own: a process that is not scheduled is frozen, between any two steps and for as
 * long as it likes. An atomic block is what Postgres does as one. What is left out, and why that may be, is in
 * README.md. `npm run model` runs the design as it is, and variants of it:
 *
 *   NO_FENCE          a transaction does not ask whether its term is over
 *   UNLOCKED_CHECK    it asks without the shared lock, as WHERE EXISTS would
 *   STALE_SNAPSHOT    it takes the lock, and asks in the snapshot from before it waited, as STABLE would
 *   SPLIT_PROMOTION   promote() reads the term in one transaction and writes it in another
 *   NO_CAS            what was decided is written without asking whether the row is still as it was
 *   NO_GATE           executors are served before recovery is done
 *   NO_LOCK           promote() does not ask for the lock of the active: safe all the same
 *   ONE_CONNECTION    one writing transaction at a time: for the next two, which look for one run among all
 *   DENY_SURVIVAL     an assert denies that a job claimed in one term is finished in the next, by its first owner
 *   DENY_TAKEOVER     the same, by a second owner after a reclaim
 *
 * P1, P2, P3 and P12 are properties, by the numbers of docs/invariants.md.
 */
#ifndef TERMS
#define TERMS 3
#endif
#ifndef FENCES
#define FENCES 3 /* the highest fence that a claim gives */
#endif
#define NOBODY 0

mtype:jobState = { available, leased, succeeded, failed, cancelled };
mtype:work = { task, sweep, claim, report, reclaim };

/* An owner is an executor under one epoch: two executors, or one before and after it registered anew. */
#define OWNERS 2
#define isFinal(state_) (state_ == succeeded || state_ == failed || state_ == cancelled)

/* ── Postgres: what is committed ── */
byte term, leader;
mtype:jobState state = available;
byte fence, owner;

/* ── Postgres: locks ── */
byte lockHolder;     /* of the active: a replica */
bool fenceExclusive; /* of a promotion */
byte fenceShared;    /* of writing transactions: how many */
bool rowLocked;

/* ── Replicas: what each believes ── */
byte believes[3]; /* a term, or 0 */
bool isOpen[3];   /* its gate */

/* ── History: for the properties alone, no step depends on it ── */
byte liveOwner, liveFence;             /* the assignment that lives, by what was decided */
mtype:jobState finalState = available; /* the first final state, once there is one */
bool wasOpened;                        /* the gate was open in the committed term */
#if defined(DENY_SURVIVAL) || defined(DENY_TAKEOVER)
byte firstTerm; /* of the first claim */
#endif

#define name(replica_) ('A' + replica_ - 1)

proctype replica(byte me) {
  byte seen;

end_stand:
#ifdef NO_LOCK
  atomic { term < TERMS -> skip }
#define mayPromote true
#else
  atomic {
    lockHolder == NOBODY && term < TERMS && (term > 0 || me == 1) -> lockHolder = me;
    printf("replica %c is granted the lock\n", name(me))
  }
#define mayPromote (lockHolder == me)
#endif

  /* promote(): one transaction on the lock session, and it ends with that session. */
  if
#ifdef SPLIT_PROMOTION
  :: atomic { mayPromote -> seen = term; printf("replica %c: promote() reads term %d\n", name(me), term) }
#else
  :: atomic { mayPromote && !fenceExclusive && fenceShared == 0 -> fenceExclusive = true; seen = term }
#endif
  :: atomic { !mayPromote -> goto end_stand }
  fi;
  if
#ifdef SPLIT_PROMOTION
  :: atomic { true ->
#else
  :: atomic { !mayPromote -> fenceExclusive = false; seen = 0; goto end_stand }
  :: atomic { mayPromote ->
#endif
       printf("replica %c: promote() commits term %d\n", name(me), seen + 1);
       assert(term == seen); /* P1: a term is one more than the last, and is given once */
       term = seen + 1; leader = me; wasOpened = false; fenceExclusive = false;
       if
       :: believes[me] = term
       :: printf("replica %c: the answer is lost\n", name(me)); goto let_go
       fi;
       seen = 0 }
  fi;

  if
  :: atomic { true ->
       printf("replica %c has recovered, and opens its gate in term %d\n", name(me), believes[me]);
       isOpen[me] = true; wasOpened = wasOpened || believes[me] == term }
  :: atomic { true -> goto let_go }
  fi;

  /* Any loss: a crash, a hand-over, trust run out, the end of the session; however late it is noticed. */
let_go:
  atomic {
    printf("replica %c no longer leads\n", name(me));
    believes[me] = 0; isOpen[me] = false; seen = 0;
    if :: lockHolder == me -> lockHolder = NOBODY :: else fi;
    goto end_stand
  }
}

/* A killed process, idle_session_timeout of a frozen or cut-off one, an operator, a restart of Postgres. */
active proctype postgres() {
end_wait:
  do
  :: atomic { lockHolder != NOBODY ->
       printf("Postgres ends the lock session of replica %c\n", name(lockHolder)); lockHolder = NOBODY }
  od
}

#define says(what) printf("  %e of replica %c in term %d (connection %d): ", kind, name(myReplica), myTerm, me); \
  printf(what)
#define rollBack atomic { true -> goto roll_back } /* an error, a timeout, a terminated session */

#ifdef NO_GATE
#define serves(replica_) true
#else
#define serves(replica_) isOpen[replica_]
#endif

/* An executor's request passes the gate of a replica, or one of its sweeps begins: a task. Which it is, is left open
   until it is judged, since nothing depends on it before. With the gate closed there is recovery alone: a sweep. */
inline arrive() {
  if
  :: believes[1] != 0 -> myReplica = 1
  :: believes[2] != 0 -> myReplica = 2
  fi;
  myTerm = believes[myReplica];
  if
  :: serves(myReplica) -> kind = task
  :: !serves(myReplica) -> kind = sweep
  fi;
  says("arrives\n")
}

/* Judges by what it reads, without the row's lock: the code does so with it. A report may be late, repeated, sent
   to either replica or made up: it names any fence and any owner. A lease may be taken back at any time. */
inline decide() {
  if
  :: kind == task && state == available && fence < FENCES -> kind = claim
  :: kind == task -> kind = report;
     select(myFence : 1 .. FENCES); select(myOwner : 1 .. OWNERS);
     if
     :: state == leased && fence == myFence && owner == myOwner
     :: else -> goto roll_back /* rejected: stale fence, already final */
     fi
  :: state == leased -> kind = reclaim; myOwner = owner; myFence = fence
  :: kind == sweep && state != leased -> goto roll_back
  fi;
  says("is decided\n")
}

#ifdef NO_CAS
#define isUnchanged true
#else
#define isUnchanged (kind == claim -> state == available : \
  state == leased && fence == myFence && owner == myOwner)
#endif

/* The row is locked, and the condition asked of what is committed then. */
inline write() {
  if
  :: isUnchanged && !(kind == claim && fence >= FENCES) -> rowLocked = true; holdsRow = true
  :: else -> says("finds the row changed\n"); goto roll_back
  fi;
  says("is written\n")
}

inline settle() {
  assert(finalState == available || state == finalState); /* P3: what is final stays as it is */
  if :: isFinal(state) -> finalState = state :: else fi
}

inline commit() {
  says("COMMIT\n");
  assert(myTerm == term); /* P1: no write of a term that is over */
  assert(kind == reclaim || wasOpened || myTerm != term); /* P12: executors are served after recovery alone */
  if
  :: kind == claim ->
     assert(liveOwner == NOBODY); /* P2: one assignment at a time */
     fence++; select(owner : 1 .. OWNERS); state = leased;
     liveOwner = owner; liveFence = fence
#if defined(DENY_SURVIVAL) || defined(DENY_TAKEOVER)
     ; if :: firstTerm == 0 -> firstTerm = myTerm :: else fi
#endif
  :: kind == report ->
     assert(liveOwner == myOwner && liveFence == myFence); /* P2: counts from the owner alone */
     if :: state = succeeded :: state = failed :: state = available fi;
     owner = NOBODY; liveOwner = NOBODY; liveFence = 0
#ifdef DENY_SURVIVAL
     ; assert(!(isFinal(state) && fence == 1 && myTerm > firstTerm)) /* denied: work survives a failover */
#endif
#ifdef DENY_TAKEOVER
     ; assert(!(isFinal(state) && fence == 3 && myTerm > firstTerm)) /* denied: work is taken back, and done */
#endif
  :: kind == reclaim ->
     assert(liveOwner == myOwner && liveFence == myFence); /* P2: takes back what it was decided for */
     state = available; fence = myFence + 1; owner = NOBODY; liveOwner = NOBODY; liveFence = 0
  fi;
  settle()
}

/* One writing transaction after another, through the leader's door, of either replica. */
proctype connection(byte me) {
  byte myTerm, myReplica, myOwner, myFence;
  bool isFenced, holdsRow, isOfTerm;
  mtype:work kind;

end_idle:
  atomic { arrive() }
#ifdef STALE_SNAPSHOT
  atomic { isOfTerm = (term == myTerm && leader == myReplica); says("BEGIN takes a snapshot\n") }
#endif
#if !defined(NO_FENCE) && !defined(UNLOCKED_CHECK)
  if
  :: atomic { !fenceExclusive -> fenceShared++; isFenced = true }
  :: rollBack
  fi;
#endif
#ifndef NO_FENCE
#ifndef STALE_SNAPSHOT
#define isOfTerm (term == myTerm && leader == myReplica)
#endif
  if
  :: atomic { isOfTerm -> says("BEGIN finds its term not over\n") }
  :: atomic { !isOfTerm -> goto roll_back }
  fi;
#endif
  atomic { decide() }
  if
  :: atomic { !rowLocked -> write() }
  :: rollBack
  fi;
  if
  :: atomic { true ->
       commit();
       rowLocked = false; holdsRow = false;
       fenceShared = fenceShared - isFenced; isFenced = false }
  :: rollBack
  fi;
  /* Whether the answer to COMMIT arrives makes no difference: without it an executor asks or reports again. */
roll_back:
  atomic {
    if :: holdsRow -> rowLocked = false; holdsRow = false :: else fi;
    fenceShared = fenceShared - isFenced; isFenced = false;
    myTerm = 0; myReplica = 0; myOwner = 0; myFence = 0; kind = 0;
    goto end_idle
  }
}

/* Cancels a job that nobody has, in one statement with its condition, on any replica, standby or not. To other
   transactions the wait between its write and its COMMIT is one for the row: nothing that they would see. */
active proctype client() {
end_idle:
  atomic { state == available && !rowLocked ->
    printf("  cancel of a client: COMMIT\n");
    state = cancelled;
    settle() }
}

init {
  atomic {
    run replica(1); run replica(2); run connection(1);
#ifndef ONE_CONNECTION
    run connection(2)
#endif
  }
}
