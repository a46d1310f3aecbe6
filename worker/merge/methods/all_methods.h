// The merge methods, one file each: it begins with the formula and its paper. merge_method.cc lists them.
#ifndef MERGANSER_WORKER_MERGE_METHODS_ALL_METHODS_H_
#define MERGANSER_WORKER_MERGE_METHODS_ALL_METHODS_H_

namespace merganser {

class MergeMethod;

const MergeMethod* NewLinear();
const MergeMethod* NewTaskArithmetic();
const MergeMethod* NewTies();
const MergeMethod* NewDareLinear();
const MergeMethod* NewDareTies();
const MergeMethod* NewDellaLinear();
const MergeMethod* NewDella();
const MergeMethod* NewBreadcrumbs();
const MergeMethod* NewBreadcrumbsTies();
const MergeMethod* NewSce();
const MergeMethod* NewSlerp();
const MergeMethod* NewNuslerp();
const MergeMethod* NewMultislerp();
const MergeMethod* NewKarcher();
const MergeMethod* NewModelStock();
const MergeMethod* NewNearswap();
const MergeMethod* NewArceeFusion();
const MergeMethod* NewRam();
const MergeMethod* NewRamplusTl();
const MergeMethod* NewPassthrough();

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_ALL_METHODS_H_
